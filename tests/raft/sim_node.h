// A core with a disk and a state machine of its own, that can crash and start again.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "raft/core.h"
#include "raft/sim_disk.h"

namespace raftkv::raft {

class SimNode {
 public:
  // Down until Start.
  SimNode(const Options& options, SimDisk disk);

  NodeId id() const { return options_.id; }
  bool up() const { return core_ != nullptr; }
  Core& core() { return *core_; }
  const Core& core() const { return *core_; }
  SimDisk& disk() { return disk_; }
  const SimDisk& disk() const { return disk_; }

  // Starts from what is on disk, with the state machine as of `applied`; it holds at least what the
  // log has been cut off for.
  void Start(Index applied, uint64_t seed);
  // `keep`: so many of the unsynced tasks reached the disk all the same.
  void Crash(size_t keep);

  // Takes the core's output: the write goes to the disk's queue and the entries to the state
  // machine's. The rest is the caller's to carry out (append, if any, without its messages).
  Output Collect();

  // Syncs the oldest write and returns the messages that may leave now; the core is not told until
  // ReportSynced.
  std::vector<Message> SyncNext();
  bool HasSynced() const { return synced_ > reported_; }
  // Tells the core of every write synced so far.
  void ReportSynced();

  // What one task for the state machine did.
  struct Applied {
    std::optional<SnapshotMeta> install;  // switched to this snapshot first
    std::vector<Entry> entries;
  };
  // Carries out the oldest task and tells the core.
  Applied ApplyNext();
  bool HasApply() const { return !apply_.empty(); }

  // The state machine's position.
  Index applied_index() const { return applied_index_; }

 private:
  Options options_;
  SimDisk disk_;
  std::unique_ptr<Core> core_;
  AppendSeq synced_ = 0;
  AppendSeq reported_ = 0;
  std::deque<Applied> apply_;
  Index applied_index_;
};

}  // namespace raftkv::raft
