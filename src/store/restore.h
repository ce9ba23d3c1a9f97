// Makes a database of a new cluster out of a backup.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/types.h"
#include "store/engine.h"
#include "store/snapshot_file.h"
#include "store/snapshot_source.h"

namespace raftkv::store {

// How far a restore raises the revision: further than a cluster gets between a backup and its end,
// so that no revision is ever given out twice, and watchers and caches notice.
inline constexpr int64_t kRevisionBump = 1'000'000'000;

// Where the log of the restored node starts: what was restored stands for this entry, which every
// node of the new cluster restores alike.
inline constexpr LogPosition kRestoredPosition{Index(1), Term(1)};

struct RestoreOptions {
  EngineOptions engine;   // `path`: what to make; must not exist
  NodeIdentity identity;  // of the new node, with the new cluster's id
  // Further records of raft_meta: the log's start at kRestoredPosition, a hard state of that term,
  // the new membership. They are the log's to encode (src/wal).
  std::vector<std::pair<std::string, std::string>> raft_meta;
  int64_t revision_bump = kRevisionBump;  // 0: the revision stays
  // Nothing before the raised revision can be read: a watcher that comes back with a revision of
  // the former cluster is told that it was compacted, and does not take one history for another.
  bool mark_compacted = true;
};

// Reads and checks all of `file` first, so that a damaged one leaves nothing behind. The former
// cluster's configuration, members and alarms are left out. Needs room for the tables beside
// `engine.path`, in a directory of that name with ".restore" behind it, which is removed.
StatusOr<SnapshotFileInfo> RestoreSnapshot(const std::string& file, const RestoreOptions& options);

// The same from a database that was opened read-only, and of which all that is to be in the new one
// was flushed.
StatusOr<SnapshotHeader> RestoreFrom(SnapshotSource* source, const RestoreOptions& options);

// What becomes of the applied record. kInvalidArgument when the bump is negative or too far.
StatusOr<AppliedRecord> RestoredRecord(const AppliedRecord& before, const RestoreOptions& options);

}  // namespace raftkv::store
