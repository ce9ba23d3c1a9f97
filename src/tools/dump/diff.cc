#include "tools/dump/diff.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <rocksdb/iterator.h>

#include "store/kv_kinds.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory.h"
#include "tools/dump/findings.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/dump/rebuild.h"
#include "tools/dump/state_compare.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kIdentity[] = "identity";
constexpr char kLog[] = "log";
constexpr char kState[] = "state";

std::string Number(Index index) { return std::to_string(index.value()); }
std::string Number(uint64_t n) { return std::to_string(n); }

// One of the two.
struct Side {
  std::string name;  // "A"
  std::string path;
  std::unique_ptr<NodeDirectory> directory;
  std::unique_ptr<RebuiltState> replayed;
  LogMeta meta;
  LogBounds bounds;
  store::AppliedRecord applied;

  store::Engine* log_engine() const { return directory->engine(); }
  store::Engine* state_engine() const {
    return replayed ? replayed->engine() : directory->engine();
  }
  // The highest index this side is known to have committed.
  Index committed() const {
    const Index hint = meta.hard_state.ok() ? meta.hard_state->commit : Index();
    return std::max(hint, applied.position.index);
  }
};

// What a damaged directory has in common with another can't be known.
Status Unreadable(const Side& side, const Status& status) {
  if (status.code() != Code::kCorruption) return status;
  return Status(Code::kFailedPrecondition, side.path + " can't be compared: " + status.message() +
                                               " (raftkv-dump verify says more)");
}

Status Load(Side* side) {
  const auto load = [&]() -> Status {
    RAFTKV_ASSIGN_OR_RETURN(side->directory, NodeDirectory::Open(side->path));
    side->meta = ReadLogMeta(side->log_engine());
    if (!side->meta.before_first.ok()) return side->meta.before_first.status();
    RAFTKV_ASSIGN_OR_RETURN(side->bounds, ReadLogBounds(side->log_engine(), side->meta));
    RAFTKV_ASSIGN_OR_RETURN(side->applied, ReadAppliedOrInitial(side->log_engine()));
    return Status::Ok();
  };
  return Unreadable(*side, load());
}

Status Replay(Side* side, const ScratchDirectory& scratch, Index through, Report* report) {
  const auto replay = [&]() -> Status {
    const Index to = std::max(side->applied.position.index, std::min(through, side->bounds.last));
    RebuildOptions options;
    options.target = {Target::Kind::kIndex, to.value()};
    options.report = report;
    RAFTKV_ASSIGN_OR_RETURN(side->replayed, RebuiltState::Make(*side->directory, scratch, options));
    RAFTKV_ASSIGN_OR_RETURN(side->applied, ReadAppliedOrInitial(side->state_engine()));
    return Status::Ok();
  };
  return Unreadable(*side, replay());
}

Json ToJson(const Side& side) {
  const store::NodeIdentity& identity = side.log_engine()->identity();
  const bool hard_state = side.meta.hard_state.ok();
  return {{"type", "side"},
          {"side", side.name},
          {"path", side.path},
          {"cluster_id", IdText(identity.cluster.value())},
          {"node_id", IdText(identity.node.value())},
          {"node_name", identity.node_name},
          {"term", hard_state ? Json(side.meta.hard_state->term.value()) : Json(nullptr)},
          {"commit", hard_state ? Json(side.meta.hard_state->commit.value()) : Json(nullptr)},
          {"log_first", side.bounds.first.value()},
          {"log_last", side.bounds.last.value()},
          {"applied_index", side.applied.position.index.value()},
          {"revision", side.applied.revision},
          {"compact_revision", side.applied.compact_revision}};
}

std::string ToText(const Json& side) {
  std::string text = side["side"].get<std::string>() + ":";
  for (const auto& [name, value] : side.items()) {
    if (name == "type" || name == "side") continue;
    text += " " + name + " " +
            (value.is_string() ? EscapeText(value.get<std::string>()) : value.dump());
  }
  return text;
}

// The entries of one log, in order.
class Entries {
 public:
  Entries(store::Engine* engine, Index from) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    options.readahead_size = 2 << 20;
    it_.reset(engine->db()->NewIterator(options, engine->raft_log()));
    it_->Seek(wal::LogKey(from));
  }
  // Nothing when there is none at `index`.
  std::optional<std::string_view> At(Index index) {
    const auto key = [this] { return std::string_view(it_->key().data(), it_->key().size()); };
    while (it_->Valid() && key() < wal::LogKey(index)) it_->Next();
    if (!it_->Valid() || key() != wal::LogKey(index)) return std::nullopt;
    return std::string_view(it_->value().data(), it_->value().size());
  }
  Status status() const { return store::FromRocksDb(it_->status(), "reading the log"); }

 private:
  std::unique_ptr<rocksdb::Iterator> it_;
};

std::string EntryText(Index index, const std::optional<std::string_view>& record) {
  if (!record) return "nothing";
  const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(index, *record);
  if (!entry.ok()) return entry.status().message();
  std::string text =
      "term " + std::to_string(entry->term.value()) + " " + std::string(EntryKindName(entry->kind));
  if (entry->kind == EntryKind::kCommand) {
    const StatusOr<Json> command = DescribeCommand(entry->payload, {});
    text += ", " + (command.ok() ? CommandText(*command) : command.status().message());
  }
  return text;
}

class Differ {
 public:
  Differ(Side* a, Side* b, const DiffOptions& options, Report* report)
      : a_(*a), b_(*b), report_(report), findings_(options.shown_max, [report](const Json& record) {
          ShowFinding(record, report);
        }) {}

  Status Run() {
    CompareIdentity();
    for (const Side* side : {&a_, &b_}) {
      const Json json = ToJson(*side);
      report_->Record([&] { return ToText(json); }, [&] { return json; });
    }
    RAFTKV_RETURN_IF_ERROR(CompareLogs());
    RAFTKV_RETURN_IF_ERROR(CompareStates());
    End();
    return Status::Ok();
  }

 private:
  void CompareIdentity() {
    const store::NodeIdentity& a = a_.log_engine()->identity();
    const store::NodeIdentity& b = b_.log_engine()->identity();
    if (a.cluster != b.cluster) {
      Problem(kIdentity, {},
              "they belong to different clusters: A to " + IdText(a.cluster.value()) + ", B to " +
                  IdText(b.cluster.value()),
              "log positions of the two have nothing to do with each other; keys may still be the "
              "same, if one was restored from a backup of the other");
    }
    Note(kIdentity,
         a.cluster == b.cluster && a.node == b.node
             ? "one member, at two times: " + EscapeText(a.node_name)
             : "two members: " + EscapeText(a.node_name) + " and " + EscapeText(b.node_name));
  }

  Status CompareLogs() {
    OnlyOneHas(a_, b_);
    OnlyOneHas(b_, a_);
    const Index from = std::max(a_.bounds.first, b_.bounds.first);
    const Index to = std::min(a_.bounds.last, b_.bounds.last);
    if (from > to) {
      Note(kLog, "the logs have no index in common: nothing was compared");
      return Status::Ok();
    }
    Entries of_a(a_.log_engine(), from);
    Entries of_b(b_.log_engine(), from);
    Progress progress(report_, "comparing the logs", "entries", to.value() - from.value() + 1);
    for (Index index = from; index <= to; ++index) {
      const auto entry_a = of_a.At(index);
      const auto entry_b = of_b.At(index);
      RAFTKV_RETURN_IF_ERROR(Unreadable(a_, of_a.status()));
      RAFTKV_RETURN_IF_ERROR(Unreadable(b_, of_b.status()));
      progress.Add();
      if (entry_a != entry_b) EntryDiffers(index, entry_a, entry_b);
    }
    findings_.Done(kLog,
                   first_index_
                       ? "the logs are the same from index " + Number(from) + " to " +
                             Number(*first_index_ - 1) + " and differ at " + Number(*first_index_)
                       : "the logs are the same from index " + Number(from) + " to " + Number(to));
    return Status::Ok();
  }

  void OnlyOneHas(const Side& one, const Side& other) {
    if (one.bounds.first > one.bounds.last) return;
    if (one.bounds.first < other.bounds.first) {
      Note(kLog, "only " + one.name + " has index " + Number(one.bounds.first) + " to " +
                     Number(std::min(one.bounds.last, other.bounds.first - 1)) +
                     ": they were cut off in " + other.name);
    }
    if (one.bounds.last > other.bounds.last) {
      Note(kLog, "only " + one.name + " has index " +
                     Number(std::max(one.bounds.first, other.bounds.last + 1)) + " to " +
                     Number(one.bounds.last) + ": " + other.name + " has not got that far");
    }
  }

  void EntryDiffers(Index index, const std::optional<std::string_view>& a,
                    const std::optional<std::string_view>& b) {
    if (!first_index_) first_index_ = index;
    const bool in_a = index <= a_.committed();
    const bool in_b = index <= b_.committed();
    Problem(
        kLog, {.index = index}, "A has " + EntryText(index, a) + "; B has " + EntryText(index, b),
        in_a && in_b ? "both took it for committed: that must never happen. Stop the cluster "
                       "and keep both directories"
        : in_a || in_b
            ? "only " + std::string(in_a ? "A" : "B") +
                  " knows of a commit here; the other's entry was never committed, and Raft "
                  "replaces it"
            : "neither is known to be committed: a leader decides, and Raft replaces the other");
  }

  Status CompareStates() {
    const int64_t revision = std::min(a_.applied.revision, b_.applied.revision);
    const int64_t floor = std::max(a_.applied.compact_revision, b_.applied.compact_revision);
    if (floor > revision) {
      Note(kState, "there is no revision that can be read in both: A has " + Range(a_) +
                       ", B has " + Range(b_) + "; nothing was compared");
      return Status::Ok();
    }
    if (revision <= 1) {
      Note(kState, std::string("one of them has no state yet") +
                       (a_.replayed ? "" : " that was flushed (--replay applies the logs first)"));
    }
    for (const Side* side : {&a_, &b_}) {
      if (side->applied.revision > revision) {
        Note(kState, "only " + side->name + " has revision " +
                         Number(static_cast<uint64_t>(revision + 1)) + " to " +
                         Number(static_cast<uint64_t>(side->applied.revision)));
      }
    }
    const OnDifference report = [this](const StateDifference& difference) {
      StateDiffers(difference);
    };
    const StatusOr<uint64_t> compared =
        CompareVersions(a_.state_engine(), b_.state_engine(), floor, revision, report);
    RAFTKV_RETURN_IF_ERROR(compared.status());
    const bool same_index = a_.applied.position.index == b_.applied.position.index;
    if (same_index) {
      if (a_.applied.session_limits != b_.applied.session_limits) LimitsDiffer();
      for (const char kind :
           {store::kConfigKind, store::kMemberKind, store::kSessionKind, store::kAlarmKind}) {
        RAFTKV_RETURN_IF_ERROR(
            CompareRecords(a_.state_engine(), b_.state_engine(), kind, report).status());
      }
    } else {
      Note(kState, "sessions, members and alarms were not compared: A was applied up to index " +
                       Number(a_.applied.position.index) + ", B up to " +
                       Number(b_.applied.position.index));
    }
    std::string looked_at = Number(*compared) + " versions of keys, as read at any revision from " +
                            std::to_string(floor) + " to " + std::to_string(revision);
    if (first_key_) {
      looked_at += "; the first key that differs is \"" + store::Printable(*first_key_) +
                   "\", the first revision " + RevisionText(*first_revision_);
    }
    findings_.Done(kState, looked_at);
    return Status::Ok();
  }

  static std::string Range(const Side& side) {
    return std::to_string(side.applied.compact_revision) + " to " +
           std::to_string(side.applied.revision);
  }

  void StateDiffers(const StateDifference& difference) {
    Place place{.key = difference.key};
    std::string user_key;
    store::Revision revision;
    const bool version = store::DecodeDataKey(difference.key, &user_key, &revision).ok();
    if (version) {
      place.key = user_key;
      place.revision = revision;
      if (!first_key_) first_key_ = user_key;
      if (!first_revision_ || revision < *first_revision_) first_revision_ = revision;
    }
    const std::string what = version ? "version of the key" : "record";
    Problem(kState, std::move(place),
            difference.in_a && difference.in_b
                ? "the " + what + " is not the same in both"
                : "only " + std::string(difference.in_a ? "A" : "B") + " has this " + what,
            "the same log makes the same state: if the logs are the same, one of the two states is "
            "damaged (raftkv-dump verify --deep on each)");
  }

  void LimitsDiffer() {
    const auto text = [](const store::SessionLimits& limits) {
      return Number(limits.sessions_max) + " for " + Number(limits.ttl_ms) + " ms";
    };
    Problem(kState, {.key = store::AppliedKey()},
            "the session limits are not the same in both: A remembers at most " +
                text(a_.applied.session_limits) + ", B " + text(b_.applied.session_limits),
            "the same log makes the same limits: one of the two is not what its log made");
  }

  void End() {
    report_->Record(
        [&] {
          return findings_.problems() == 0 ? std::string("they agree on all that both have")
                                           : Number(findings_.problems()) + " difference(s)";
        },
        [&] {
          Json json{{"type", "end"}, {"differences", findings_.problems()}};
          if (first_index_) json["first_index"] = first_index_->value();
          if (first_key_) json["first_key"] = Base64(*first_key_);
          if (first_revision_) json["first_revision"] = RevisionText(*first_revision_);
          return json;
        });
  }

  void Problem(const std::string& check, Place place, std::string what, std::string means) {
    findings_.Problem({check, std::move(place), std::move(what), std::move(means), {}});
  }
  void Note(const std::string& check, std::string what) {
    findings_.Note({check, {}, std::move(what), {}, {}});
  }

  const Side& a_;
  const Side& b_;
  Report* const report_;
  Findings findings_;
  std::optional<Index> first_index_;
  std::optional<std::string> first_key_;
  std::optional<store::Revision> first_revision_;
};

}  // namespace

Status Diff(const std::string& path_a, const std::string& path_b, const DiffOptions& options,
            Report* report) {
  Side a{.name = "A", .path = path_a};
  Side b{.name = "B", .path = path_b};
  for (Side* side : {&a, &b}) RAFTKV_RETURN_IF_ERROR(Load(side));
  if (options.scratch_a != nullptr && options.scratch_b != nullptr) {
    const Index through = std::min(a.committed(), b.committed());
    RAFTKV_RETURN_IF_ERROR(Replay(&a, *options.scratch_a, through, report));
    RAFTKV_RETURN_IF_ERROR(Replay(&b, *options.scratch_b, through, report));
  }
  RAFTKV_RETURN_IF_ERROR(Differ(&a, &b, options, report).Run());
  for (const Side* side : {&a, &b}) RAFTKV_RETURN_IF_ERROR(side->directory->CheckNotRunning());
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
