#include "tools/dump/verify_window.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <rocksdb/iterator.h>

#include "rpc.pb.h"
#include "store/command.h"
#include "store/mvcc.h"
#include "store/mvcc_view.h"
#include "tools/dump/progress.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kReplay[] = "replay";

// More possibilities than this, and nothing can be told any more.
constexpr size_t kCandidatesMax = 64;

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// What an entry did to the revision, as far as it alone can say.
enum class Effect { kNone, kMaybe, kOne };

struct Change {
  Effect effect = Effect::kNone;
  store::CommandType type = store::CommandType::kPut;
  etcdserverpb::PutRequest put;
  etcdserverpb::DeleteRangeRequest del;
};

StatusOr<Change> ChangeOf(const wal::EntryView& entry) {
  Change change;
  if (entry.kind != EntryKind::kCommand) return change;
  RAFTKV_ASSIGN_OR_RETURN(const store::Command command, store::DecodeCommand(entry.payload));
  change.type = command.type;
  const auto parse = [&](auto* request) {
    return request->ParseFromArray(command.body.data(), static_cast<int>(command.body.size()));
  };
  bool parsed = true;
  switch (command.type) {
    case store::CommandType::kPut: {
      parsed = parse(&change.put);
      const bool plain =
          !change.put.ignore_value() && !change.put.ignore_lease() && change.put.lease() == 0;
      change.effect = plain && !command.session.present() ? Effect::kOne : Effect::kMaybe;
      break;
    }
    case store::CommandType::kDeleteRange:
      parsed = parse(&change.del);
      change.effect = Effect::kMaybe;
      break;
    case store::CommandType::kTxn:
      change.effect = Effect::kMaybe;
      break;
    case store::CommandType::kCompact:
    case store::CommandType::kMemberAttributes:
    case store::CommandType::kAlarm:
    case store::CommandType::kSessionLimits:
      break;
  }
  if (!parsed) return Status(Code::kCorruption, "the request in the command does not parse");
  return change;
}

bool InRange(std::string_view key, const etcdserverpb::DeleteRangeRequest& del) {
  const store::KeyRange range = store::KeyRange::Of(del.key(), del.range_end());
  if (range.single) return key == range.key;
  return key >= range.key && (range.unbounded || key < range.end);
}

class WindowVerifier {
 public:
  WindowVerifier(store::Engine* engine, const store::AppliedRecord& applied, Findings* findings)
      : engine_(engine),
        kv_(engine->kv()),
        applied_(applied),
        findings_(findings),
        candidates_{applied.revision} {
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    index_.reset(engine->db()->NewIterator(options, kv_.get()));
    log_.reset(engine->db()->NewIterator(options, engine->raft_log()));
  }

  void Run(const LogBounds& bounds, Report* report) {
    const Index to = std::min(applied_.position.index, bounds.last);
    Progress progress(report, "looking for the log's entries in the state", "entries",
                      to + 1 > bounds.first ? to.value() - bounds.first.value() + 1 : 0);
    Index index = to;
    for (log_->SeekForPrev(wal::LogKey(to)); index >= bounds.first && log_->Valid();
         log_->Prev(), index = index - 1) {
      progress.Add();
      // What is wrong with the log itself has been said.
      if (wal::ParseLogKey(View(log_->key())) != index) return Stopped(index);
      const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(index, View(log_->value()));
      if (!entry.ok()) return Stopped(index);
      const StatusOr<Change> change = ChangeOf(*entry);
      if (!change.ok()) return Stopped(index);
      if (!GoBackOver(index, *change)) return;
      if (candidates_.size() > kCandidatesMax) return Stopped(index);
    }
    findings_->Done(kReplay, "entries " + std::to_string(bounds.first.value()) + " to " +
                                 std::to_string(to.value()) +
                                 ", all that the log still has, are in the state");
  }

 private:
  // From the revisions that there can have been after the entry to those before it; false, and a
  // finding, when there are none.
  bool GoBackOver(Index index, const Change& change) {
    if (change.effect == Effect::kNone) return true;
    std::set<int64_t> before;
    for (const int64_t revision : candidates_) {
      if (Explains(change, revision)) before.insert(revision - 1);
      if (change.effect == Effect::kMaybe) before.insert(revision);
    }
    if (!before.empty()) {
      candidates_ = std::move(before);
      return true;
    }
    findings_->Problem(
        {kReplay,
         {.family = kv_->GetName(),
          .key = change.put.key(),
          .index = index,
          .revision = store::Revision{*candidates_.rbegin(), 0}},
         "the state does not have what this entry put",
         "the state is not what its own log made: replicas differ",
         "compare with another member (raftkv-dump diff); remove the one that is wrong and let it "
         "join anew"});
    return false;
  }

  // Whether all that `revision` changed can be the entry's doing.
  bool Explains(const Change& change, int64_t revision) {
    if (revision < 2) return false;
    bool any = false;
    const std::string end = store::RevisionKey({revision + 1, 0});
    for (index_->Seek(store::RevisionKey({revision, 0}));
         index_->Valid() && View(index_->key()) < end; index_->Next()) {
      store::Revision at;
      store::RevisionRecord record;
      // What can't be read contradicts nothing, and has been reported.
      if (!store::DecodeRevisionKey(View(index_->key()), &at).ok() ||
          !store::DecodeRevisionRecord(View(index_->key()), View(index_->value()), &record).ok()) {
        return true;
      }
      any = true;
      if (!ExplainsOne(change, at, record)) return false;
    }
    return any || revision <= applied_.compact_revision;
  }

  bool ExplainsOne(const Change& change, store::Revision at, const store::RevisionRecord& record) {
    switch (change.type) {
      case store::CommandType::kPut:
        return at.sub == 0 && !record.tombstone && record.user_key == change.put.key() &&
               HasValue(record.user_key, at, change.put.value());
      case store::CommandType::kDeleteRange:
        return record.tombstone && InRange(record.user_key, change.del);
      default:
        return true;  // a transaction may do anything
    }
  }

  bool HasValue(std::string_view user_key, store::Revision at, std::string_view value) {
    const std::string key = store::DataKey(user_key, at);
    rocksdb::PinnableSlice bytes;
    const rocksdb::Status status = engine_->db()->Get({}, kv_.get(), key, &bytes);
    store::DataRecord record;
    if (!status.ok() || !store::DecodeDataRecord(key, View(bytes), &record).ok()) return true;
    return record.value == value;
  }

  void Stopped(Index index) {
    findings_->Note({kReplay,
                     {.index = index},
                     "the entries up to this one could not be looked for in the state",
                     "those behind it are there",
                     {}});
  }

  store::Engine* const engine_;
  const store::FamilyHandle kv_;
  const store::AppliedRecord applied_;
  Findings* const findings_;
  std::set<int64_t> candidates_;
  std::unique_ptr<rocksdb::Iterator> index_;
  std::unique_ptr<rocksdb::Iterator> log_;
};

}  // namespace

void VerifyWindow(store::Engine* engine, const store::AppliedRecord& applied,
                  const LogBounds& bounds, Report* report, Findings* findings) {
  if (bounds.first > bounds.last || applied.position.index < bounds.first) return;
  WindowVerifier(engine, applied, findings).Run(bounds, report);
}

}  // namespace raftkv::tools::dump
