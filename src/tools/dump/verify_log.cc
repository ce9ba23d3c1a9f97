#include "tools/dump/verify_log.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <rocksdb/iterator.h>

#include "common/membership_codec.h"
#include "rpc.pb.h"
#include "store/cluster_state.h"
#include "store/command.h"
#include "store/identity_codec.h"
#include "store/session_limits.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/state_reader.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kLog[] = "log";
constexpr char kMeta[] = "meta";
constexpr char kApplied[] = "applied";

constexpr char kLostEntries[] =
    "entries that were acknowledged are lost: this node must not vote or lead as it is";

std::string Number(Index index) { return std::to_string(index.value()); }
std::string Number(Term term) { return std::to_string(term.value()); }

template <typename Request>
bool Parses(std::string_view body) {
  Request request;
  return request.ParseFromArray(body.data(), static_cast<int>(body.size()));
}

// Whether applying the command would get as far as looking at what it asks for.
Status CheckCommand(std::string_view payload) {
  RAFTKV_ASSIGN_OR_RETURN(const store::Command command, store::DecodeCommand(payload));
  bool parses = false;
  switch (command.type) {
    case store::CommandType::kPut:
      parses = Parses<etcdserverpb::PutRequest>(command.body);
      break;
    case store::CommandType::kDeleteRange:
      parses = Parses<etcdserverpb::DeleteRangeRequest>(command.body);
      break;
    case store::CommandType::kTxn:
      parses = Parses<etcdserverpb::TxnRequest>(command.body);
      break;
    case store::CommandType::kCompact:
      parses = Parses<etcdserverpb::CompactionRequest>(command.body);
      break;
    case store::CommandType::kMemberAttributes:
      parses = Parses<etcdserverpb::Member>(command.body);
      break;
    case store::CommandType::kAlarm:
      parses = Parses<etcdserverpb::AlarmRequest>(command.body);
      break;
    case store::CommandType::kSessionLimits:
      parses = store::DecodeSessionLimits(command.body).ok();
      break;
  }
  if (parses) return Status::Ok();
  return Status(Code::kCorruption, "the request in the command does not parse");
}

class LogVerifier {
 public:
  LogVerifier(store::Engine* engine, Findings* findings)
      : engine_(engine), findings_(findings), meta_(ReadLogMeta(engine)) {}

  void Run() {
    CheckMeta();
    const StatusOr<LogBounds> bounds = ReadLogBounds(engine_, meta_);
    if (!bounds.ok()) return Problem(kLog, {}, bounds.status().message(), kLostEntries);
    last_ = bounds->last;
    first_ = bounds->first;
    applied_ = ReadApplied(engine_);
    if (meta_.before_first.ok()) last_term_ = meta_.before_first->term;
    if (first_ <= last_) ReadEntries();
    findings_->Done(kLog, first_ > last_ ? "it is empty"
                                         : std::to_string(entries_) + " entries, index " +
                                               Number(first_) + " to " + Number(last_));
    CheckHardState();
    findings_->Done(kMeta, "identity, hard state, membership, the log's start");
    CheckApplied();
    CheckConfiguration();
    findings_->Done(kApplied, applied_.ok()
                                  ? "applied up to index " + Number(applied_->position.index) +
                                        ", revision " + std::to_string(applied_->revision)
                                  : "nothing was flushed yet");
  }

 private:
  void CheckMeta() {
    Report(meta_.hard_state.status(), wal::kHardStateKey,
           "term and vote are lost: the node could vote twice in one term, and two leaders follow");
    Report(meta_.membership.status(), wal::kMembershipKey,
           "who belonged to the cluster at the log's start is not known");
    Report(meta_.before_first.status(), wal::kLogStartKey,
           "where the log begins is not known: entries that were cut off could come back");
    rocksdb::ReadOptions options;
    const std::unique_ptr<rocksdb::Iterator> it(
        engine_->db()->NewIterator(options, engine_->raft_meta()));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      const std::string key = it->key().ToString();
      if (key == store::kIdentityKey || key == store::kKvFamilyKey || key == wal::kHardStateKey ||
          key == wal::kMembershipKey || key == wal::kLogStartKey) {
        continue;
      }
      Problem(
          kMeta, {.family = "raft_meta", .key = key},
          "no version of raftkv this tool knows has such a record",
          "another program or a newer version wrote it, or the key of another record is damaged");
    }
    if (!it->status().ok()) {
      Problem(kMeta, {.family = "raft_meta"}, it->status().ToString(),
              "some of its records can't be read");
    }
  }

  void Report(const Status& status, std::string_view key, const std::string& means) {
    if (status.ok()) return;
    Problem(kMeta, {.family = "raft_meta", .key = std::string(key)}, status.message(), means);
  }

  void ReadEntries() {
    const Status status =
        ForEachRecord(engine_, first_, last_, [this](const LogRecord& record) { Take(record); });
    if (!status.ok()) {
      Problem(kLog, {.family = "raft_log"}, status.message(),
              "the entries behind it can't be read, and were not checked");
    }
  }

  void Take(const LogRecord& record) {
    const Place place{.family = "raft_log", .index = record.index};
    if (!record.missing_to.none()) {
      const uint64_t missing = record.missing_to.value() - record.index.value() + 1;
      return Problem(kLog, place,
                     missing == 1 ? "entry " + Number(record.index) + " is missing"
                                  : "entries " + Number(record.index) + " to " +
                                        Number(record.missing_to) + " are missing",
                     kLostEntries);
    }
    if (!record.entry.ok()) {
      return Problem(kLog, place, record.entry.status().message(),
                     "what this entry says is lost; the node refuses to start on it");
    }
    ++entries_;
    const wal::EntryView& entry = *record.entry;
    if (entry.term < last_term_) {
      Problem(kLog, place,
              "the entry is of term " + Number(entry.term) + ", the one before it of term " +
                  Number(last_term_),
              "terms never go back in a log: an old entry came back in the place of a newer one");
    }
    last_term_ = std::max(last_term_, entry.term);
    if (applied_.ok() && record.index == applied_->position.index) applied_term_ = entry.term;
    CheckPayload(record.index, entry);
  }

  void CheckPayload(Index index, const wal::EntryView& entry) {
    const Place place{.family = "raft_log", .index = index};
    if (entry.kind == EntryKind::kCommand) {
      const Status status = CheckCommand(entry.payload);
      if (status.ok()) return;
      Problem(kLog, place, "the entry's checksum is right, but " + status.message(),
              "these are the bytes that were written: a node that applies the entry aborts");
    } else if (entry.kind == EntryKind::kConfig) {
      const StatusOr<Membership> membership = DecodeMembership(entry.payload);
      if (!membership.ok()) {
        return Problem(kLog, place, "the configuration entry: " + membership.status().message(),
                       "who belongs to the cluster from here on is not known");
      }
      if (applied_.ok() && index <= applied_->position.index) {
        configuration_ = *membership;
        configured_at_ = index;
      }
    }
  }

  void CheckHardState() {
    if (!meta_.hard_state.ok()) return;
    const Place place{.family = "raft_meta", .key = std::string(wal::kHardStateKey)};
    if (meta_.hard_state->term < last_term_) {
      Problem(kMeta, place,
              "the hard state is of term " + Number(meta_.hard_state->term) +
                  ", but the log has an entry of term " + Number(last_term_),
              "an older term and vote came back: the node could vote twice in one term");
    }
    if (meta_.hard_state->commit > last_) {
      Problem(kMeta, place,
              "entries up to index " + Number(meta_.hard_state->commit) +
                  " were committed, but the log ends at " + Number(last_),
              kLostEntries);
    }
  }

  void CheckApplied() {
    if (!applied_.ok()) {
      if (applied_.status().code() == Code::kNotFound) {
        // Before the first flush; then all of the log must be there to build the state from.
        if (first_ > Index(1)) {
          Problem(kApplied, {.family = engine_->kv()->GetName()},
                  "there is no applied record, but the log begins at index " + Number(first_),
                  "the state that the entries before it made is lost");
        }
        return;
      }
      return Problem(kApplied, {.family = engine_->kv()->GetName(), .key = store::AppliedKey()},
                     applied_.status().message(), "what the state stands for is not known");
    }
    const LogPosition applied = applied_->position;
    const Place place{.family = engine_->kv()->GetName(), .index = applied.index};
    if (applied.index > last_) {
      Problem(kApplied, place,
              "the state was applied up to index " + Number(applied.index) +
                  ", but the log ends at " + Number(last_),
              kLostEntries);
    } else if (applied.index + 1 < first_) {
      Problem(kApplied, place,
              "the state was applied up to index " + Number(applied.index) +
                  ", but the log begins at " + Number(first_),
              "the entries between them are in neither: the state can't be brought up to date");
    }
    if (applied.index + 1 == first_ && meta_.before_first.ok()) {
      applied_term_ = meta_.before_first->term;
    }
    if (applied_term_ && *applied_term_ != applied.term) {
      Problem(kApplied, place,
              "the state was applied up to index " + Number(applied.index) + " of term " +
                  Number(applied.term) + ", but in the log that is of term " +
                  Number(*applied_term_),
              "the state was made by another log than this one");
    }
  }

  // The state's configuration is that of the last configuration entry applied; before the first,
  // none, or what the log's start says where that was cut off.
  void CheckConfiguration() {
    const StatusOr<store::ClusterState> state =
        store::ReadClusterState(engine_->db(), engine_->kv());
    // A record that can't be read is a finding about the records of kv.
    if (!state.ok() || !applied_.ok() || applied_->position.index + 1 < first_) return;
    std::optional<Membership> expected = configuration_;
    std::string source = "entry " + Number(configured_at_);
    if (!expected && state->configuration && meta_.membership.ok()) {
      expected = *meta_.membership;
      source = "the record of the membership at the log's start";
    }
    if (state->configuration == expected) return;
    Problem(kApplied, {.family = engine_->kv()->GetName(), .key = store::ConfigKey()},
            "the applied state's configuration is " +
                (state->configuration ? ToString(*state->configuration) : std::string("none")) +
                ", but " + source + " says " +
                (expected ? ToString(*expected) : std::string("nothing readable")),
            "state and log disagree on who belongs to the cluster");
  }

  void Problem(const std::string& check, Place place, std::string what, std::string means) {
    findings_->Problem(
        {check, std::move(place), std::move(what), std::move(means), kReplaceAdvice});
  }

  store::Engine* const engine_;
  Findings* const findings_;
  const LogMeta meta_;
  StatusOr<store::AppliedRecord> applied_ = Status(Code::kNotFound, "not read");
  Index first_;
  Index last_;
  Term last_term_;
  uint64_t entries_ = 0;
  std::optional<Term> applied_term_;  // of the applied index, in the log
  std::optional<Membership> configuration_;
  Index configured_at_;
};

}  // namespace

void VerifyLog(store::Engine* engine, Findings* findings) { LogVerifier(engine, findings).Run(); }

}  // namespace raftkv::tools::dump
