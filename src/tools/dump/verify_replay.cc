#include "tools/dump/verify_replay.h"

#include <memory>
#include <string>
#include <utility>

#include "store/kv_kinds.h"
#include "store/kv_store.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/rebuild.h"
#include "tools/dump/state_compare.h"
#include "tools/dump/state_reader.h"
#include "tools/dump/verify_window.h"
#include "wal/log_store.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kReplay[] = "replay";

struct Rebuilt {
  std::unique_ptr<store::Engine> engine;
  store::AppliedRecord applied;
};

// What the log makes of an empty store.
StatusOr<Rebuilt> Rebuild(store::Engine* engine, const ScratchDirectory& scratch, Index through,
                          Report* report) {
  const store::EngineOptions options = ScratchEngineOptions(scratch.path() + "/rebuilt");
  RAFTKV_RETURN_IF_ERROR(store::Engine::Bootstrap(options, engine->identity(),
                                                  wal::LogStore::BootstrapRecords(Membership())));
  Rebuilt rebuilt;
  RAFTKV_ASSIGN_OR_RETURN(rebuilt.engine, store::Engine::Open(options));
  RAFTKV_ASSIGN_OR_RETURN(const std::unique_ptr<store::KvStore> state,
                          store::KvStore::Open(rebuilt.engine.get()));
  const wal::LogStore log(engine);
  RebuildOptions rebuild;
  rebuild.report = report;
  Replayer replayer(&log, rebuilt.engine.get(), state.get());
  RAFTKV_RETURN_IF_ERROR(replayer.Run(through, 0, rebuild).status());
  rebuilt.applied = state->applied();
  return rebuilt;
}

class StateComparison {
 public:
  StateComparison(store::Engine* stored, const Rebuilt& rebuilt, Findings* findings)
      : stored_(stored), rebuilt_(rebuilt), findings_(findings) {}

  void Run(const store::AppliedRecord& applied) {
    CheckApplied(applied);
    const OnDifference report = [this](const StateDifference& difference) { Report(difference); };
    const StatusOr<uint64_t> versions = CompareVersions(
        stored_, rebuilt_.engine.get(), applied.compact_revision, applied.revision, report);
    Unreadable(versions.status());
    for (const char kind : {store::kConfigKind, store::kMemberKind, store::kSessionKind,
                            store::kAlarmKind, store::kSessionTimeKind}) {
      Unreadable(CompareRecords(stored_, rebuilt_.engine.get(), kind, report).status());
    }
    findings_->Done(
        kReplay,
        "the state that entries 1 to " + std::to_string(applied.position.index.value()) +
            " make, against the stored one: " + std::to_string(versions.ok() ? *versions : 0) +
            " versions from revision " + std::to_string(applied.compact_revision) + " to " +
            std::to_string(applied.revision));
  }

 private:
  // How far old versions were removed is each node's own.
  void CheckApplied(const store::AppliedRecord& stored) {
    store::AppliedRecord made = rebuilt_.applied;
    made.compacted_to = stored.compacted_to;
    if (stored == made) return;
    const auto text = [](const store::AppliedRecord& record) {
      return "revision " + std::to_string(record.revision) + ", compacted up to " +
             std::to_string(record.compact_revision) + ", " + std::to_string(record.sessions) +
             " sessions of at most " + std::to_string(record.session_limits.sessions_max) +
             " for " + std::to_string(record.session_limits.ttl_ms) + " ms, clock " +
             std::to_string(record.time_ms) + " ms";
    };
    Problem({.key = store::AppliedKey()},
            "the stored state says " + text(stored) + "; the log makes " + text(made));
  }

  void Report(const StateDifference& difference) {
    Place place{.key = difference.key};
    store::Revision revision;
    std::string user_key;
    if (store::DecodeDataKey(difference.key, &user_key, &revision).ok()) {
      place.key = user_key;
      place.revision = revision;
    }
    Problem(std::move(place),
            !difference.in_b   ? "the stored state has a record that its log does not make"
            : !difference.in_a ? "a record that the log makes is not in the stored state"
                               : "the record is another than the one that the log makes");
  }

  void Problem(Place place, std::string what) {
    place.family = stored_->kv()->GetName();
    findings_->Problem({kReplay, std::move(place), std::move(what),
                        "the state is not what its own log made: replicas differ",
                        "compare with another member (raftkv-dump diff); remove the one that is "
                        "wrong and let it join anew"});
  }

  void Unreadable(const Status& status) {
    if (status.ok()) return;
    findings_->Problem({kReplay,
                        {.family = stored_->kv()->GetName()},
                        status.message(),
                        "the comparison ended there",
                        kReplaceAdvice});
  }

  store::Engine* const stored_;
  const Rebuilt& rebuilt_;
  Findings* const findings_;
};

void NotPossible(std::string what, std::string means, Findings* findings) {
  findings->Note({kReplay, {}, std::move(what), std::move(means), {}});
}

}  // namespace

void VerifyReplay(store::Engine* engine, const ScratchDirectory& scratch, Report* report,
                  Findings* findings) {
  const StatusOr<store::AppliedRecord> applied = ReadApplied(engine);
  const LogMeta meta = ReadLogMeta(engine);
  if (!applied.ok() || !meta.before_first.ok()) {
    const bool nothing = applied.status().code() == Code::kNotFound;
    return NotPossible(nothing ? "no state was flushed yet, so that there is nothing to compare"
                               : "what the log or the state stands for can't be read",
                       nothing ? "a start makes all of the state from the log"
                               : "the state was not compared with what the log makes",
                       findings);
  }
  if (!meta.before_first->index.none()) {
    const StatusOr<LogBounds> bounds = ReadLogBounds(engine, meta);
    if (bounds.ok()) VerifyWindow(engine, *applied, *bounds, report, findings);
    return NotPossible(
        "the log begins at index " + std::to_string(meta.before_first->index.value() + 1) +
            ": what came before was cut off, so that the state can't be made from the log alone",
        "to compare it needs the state at index " +
            std::to_string(meta.before_first->index.value()) +
            ": a copy of this directory or a snapshot as of then",
        findings);
  }
  const StatusOr<Rebuilt> rebuilt = Rebuild(engine, scratch, applied->position.index, report);
  if (!rebuilt.ok()) {
    findings->Problem({kReplay,
                       {},
                       rebuilt.status().message(),
                       "the state could not be compared with what the log makes",
                       kReplaceAdvice});
    return;
  }
  StateComparison(engine, *rebuilt, findings).Run(*applied);
}

}  // namespace raftkv::tools::dump
