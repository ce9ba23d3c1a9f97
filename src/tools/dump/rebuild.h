// The state as of a point of the log, built in a scratch database: the directory stays as it is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"
#include "common/types.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "store/snapshot_source.h"
#include "tools/dump/directory.h"
#include "tools/dump/report.h"
#include "tools/dump/scratch.h"
#include "wal/log_store.h"

namespace raftkv::tools::dump {

// Up to where the log is applied.
struct Target {
  enum class Kind {
    kLast,      // the end of the log
    kCommit,    // the commit index in the hard state, which may lag what was acknowledged
    kIndex,     // of the log
    kRevision,  // of the store: up to the entry that made it
  };
  Kind kind = Kind::kLast;
  uint64_t value = 0;
};

// "last", "commit", "index:123" or "revision:456". A bare number is kInvalidArgument: it could be
// either.
StatusOr<Target> ParseTarget(const std::string& text);

struct RebuildOptions {
  Target target;
  // Start from this backup (raftkvctl snapshot save) and not from the stored state; empty: none.
  std::string snapshot_file;
  // Start from the empty store where the log begins at 1, even if the stored state would do.
  bool prefer_empty = false;
  // Entries for which `alone` is true are applied one by one, and then given to `applied`, with the
  // database as it then is and the store's revision.
  std::function<bool(const Entry&)> alone;
  std::function<void(const Entry&, store::Engine*, int64_t revision)> applied;
  // Where to show how far it has got; null: nowhere.
  Report* report = nullptr;
};

// Not thread-safe.
class RebuiltState {
 public:
  // Verifies all of the log first. kOutOfRange, with what can be had, when the log does not lead
  // from any state there is to the target; kCorruption when log or state are damaged;
  // kInvalidArgument for a backup that does not belong to this log.
  static StatusOr<std::unique_ptr<RebuiltState>> Make(const NodeDirectory& directory,
                                                      const ScratchDirectory& scratch,
                                                      const RebuildOptions& options);

  store::Engine* engine() const { return engine_.get(); }
  const store::KvStore& kv() const { return *kv_; }

  // What it was built from: "the stored state", "an empty store" or "the backup".
  const std::string& base() const { return base_; }
  LogPosition base_position() const { return base_position_; }
  int64_t base_revision() const { return base_revision_; }
  uint64_t replayed() const { return replayed_; }
  // Entries applied beyond the commit index in the hard state: no client may ever have been told.
  uint64_t beyond_commit() const { return beyond_commit_; }

  // All of it, to be read once. It is closed for everything else by this.
  StatusOr<std::unique_ptr<store::SnapshotSource>> TakeSource();

 private:
  class Builder;
  RebuiltState() = default;

  std::string path_;
  Membership membership_;
  std::unique_ptr<store::Engine> engine_;
  std::unique_ptr<store::KvStore> kv_;
  std::string base_;
  LogPosition base_position_;
  int64_t base_revision_ = 1;
  uint64_t replayed_ = 0;
  uint64_t beyond_commit_ = 0;
};

// For a scratch database: one pass over everything, in little memory.
store::EngineOptions ScratchEngineOptions(const std::string& path);

// Applies log entries (Read's order) until `done`, without ever passing a revision: an entry raises
// it by one at most. Shared by replay, salvage and verify.
class Replayer {
 public:
  // All must outlive it; `kv` is of `engine`.
  Replayer(const raft::LogReader* log, store::Engine* engine, store::KvStore* kv)
      : log_(log), engine_(engine), kv_(kv) {}

  // Applies up to `last`, or to the entry that made `revision` (0: no bound). Returns how many.
  StatusOr<uint64_t> Run(Index last, int64_t revision, const RebuildOptions& options);

 private:
  uint64_t Apply(const std::vector<Entry>& entries, const RebuildOptions& options);

  const raft::LogReader* const log_;
  store::Engine* const engine_;
  store::KvStore* const kv_;
};

}  // namespace raftkv::tools::dump
