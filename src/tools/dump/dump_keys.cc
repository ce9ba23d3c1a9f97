#include "tools/dump/dump_keys.h"

#include <algorithm>
#include <memory>

#include "tools/dump/log_reader.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

StatusOr<Index> ReplayThrough(const NodeDirectory& directory, const ReplayOptions& options,
                              Index applied) {
  const LogMeta meta = ReadLogMeta(directory.engine());
  if (options.to_last) {
    RAFTKV_ASSIGN_OR_RETURN(const LogBounds bounds, ReadLogBounds(directory.engine(), meta));
    return std::max(bounds.last, applied);
  }
  if (options.through != 0) return Index(options.through);
  if (!meta.hard_state.ok()) return meta.hard_state.status();
  // The commit index on disk is a hint that may lag what was already applied.
  return std::max(meta.hard_state->commit, applied);
}

// Before the first flush there is no record: the state is then the one before the first entry.
StatusOr<store::AppliedRecord> AppliedOrInitial(store::Engine* engine) {
  StatusOr<store::AppliedRecord> applied = ReadApplied(engine);
  if (!applied.ok() && applied.status().code() == Code::kNotFound) return store::AppliedRecord();
  return applied;
}

StatusOr<int64_t> ChooseRevision(int64_t asked, const store::AppliedRecord& applied) {
  if (asked == 0) return applied.revision;
  if (asked > applied.revision) {
    return Status(Code::kOutOfRange, "the newest revision here is " +
                                         std::to_string(applied.revision) +
                                         " (keys --replay may show newer ones)");
  }
  if (asked < applied.compact_revision) {
    return Status(
        Code::kOutOfRange,
        "revisions before " + std::to_string(applied.compact_revision) + " have been compacted");
  }
  return asked;
}

void PrintState(const store::AppliedRecord& applied, int64_t revision, uint64_t replayed,
                Report* report) {
  report->Record(
      [&] {
        return "state at revision " + std::to_string(revision) + " of " +
               std::to_string(applied.revision) + ", applied index " +
               std::to_string(applied.position.index.value()) + " term " +
               std::to_string(applied.position.term.value()) + ", " + std::to_string(replayed) +
               " entries replayed";
      },
      [&] {
        return Json{{"type", "state"},
                    {"revision", revision},
                    {"store_revision", applied.revision},
                    {"compact_revision", applied.compact_revision},
                    {"applied_index", applied.position.index.value()},
                    {"applied_term", applied.position.term.value()},
                    {"replayed", replayed}};
      });
}

void PrintKey(const KeyState& state, Report* report) {
  report->Record(
      [&] {
        std::string line =
            "\"" + EscapeText(state.key) + "\" = \"" + EscapeText(state.record.value) +
            "\"  create " + std::to_string(state.record.create_revision) + " mod " +
            std::to_string(state.mod.main) + " version " + std::to_string(state.record.version);
        if (state.record.lease != 0) line += " lease " + std::to_string(state.record.lease);
        return line;
      },
      [&] {
        Json json{{"type", "key"},
                  {"key", Base64(state.key)},
                  {"value", Base64(state.record.value)},
                  {"create_revision", state.record.create_revision},
                  {"mod_revision", state.mod.main},
                  {"version", state.record.version}};
        if (state.record.lease != 0) json["lease"] = state.record.lease;
        return json;
      });
}

}  // namespace

Status DumpKeys(const NodeDirectory& directory, const KeysOptions& options,
                const ScratchDirectory* scratch, Report* report) {
  store::Engine* engine = directory.engine();
  RAFTKV_ASSIGN_OR_RETURN(store::AppliedRecord applied, AppliedOrInitial(engine));
  std::unique_ptr<ReplayedState> replayed;
  if (options.replay.replay) {
    RAFTKV_ASSIGN_OR_RETURN(const Index through,
                            ReplayThrough(directory, options.replay, applied.position.index));
    RAFTKV_ASSIGN_OR_RETURN(replayed, ReplayedState::Make(directory, *scratch, through));
    engine = replayed->engine();
    RAFTKV_ASSIGN_OR_RETURN(applied, AppliedOrInitial(engine));
  }
  RAFTKV_ASSIGN_OR_RETURN(const int64_t revision, ChooseRevision(options.revision, applied));
  PrintState(applied, revision, replayed ? replayed->replayed() : 0, report);
  uint64_t keys = 0;
  RAFTKV_RETURN_IF_ERROR(ForEachKey(
      engine, options.prefix, revision,
      [&](const KeyState& state) {
        ++keys;
        PrintKey(state, report);
      },
      [&](const Status& damage) { report->Problem(damage.message()); }));
  report->Record([&] { return std::to_string(keys) + " keys"; },
                 [&] {
                   return Json{{"type", "end"}, {"keys", keys}, {"problems", report->problems()}};
                 });
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
