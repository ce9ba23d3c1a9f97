// The apply thread: the only writer of the kv column family.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/types.h"
#include "store/kv_store.h"

namespace raftkv::store {

// Gets the result of one entry, on the apply thread. Must not block.
using ApplyCallback = std::function<void(ApplyResult&&)>;

// Consecutive committed entries and who waits for them.
struct ApplyBatch {
  std::vector<Entry> entries;
  // (position in `entries`, callback), ascending; entries without a waiter are not listed.
  std::vector<std::pair<size_t, ApplyCallback>> waiters;
};

struct ApplyLoopOptions {
  // Old versions removed in one step between batches, and while idle.
  size_t compact_step_versions = 1000;
};

class ApplyLoop {
 public:
  // Called on the apply thread after each batch: up to where the state machine is, and how long the
  // batch took in microseconds.
  using OnApplied = std::function<void(Index applied, uint64_t microseconds)>;

  // Starts the thread. `store` must outlive it.
  ApplyLoop(KvStore* store, const ApplyLoopOptions& options, OnApplied on_applied);
  ~ApplyLoop();  // Stops.

  // Queues a batch; entries follow those of the last. Any thread, always the same one. Never
  // blocks.
  void Submit(ApplyBatch batch);

  // Calls `ready` once everything up to `index` is applied: at once, on the caller's thread, if it
  // is already, else on the apply thread. With false if the loop stops first. Any thread.
  void WhenApplied(Index index, std::function<void(bool applied)> ready);

  // Calls `done` on the apply thread once versions made unreachable by compaction up to `revision`
  // are gone (etcd's physical compaction). With false if the loop stops first.
  void WhenCompacted(int64_t revision, std::function<void(bool compacted)> done);

  // Applies what was submitted, then ends the thread; fails waiters that remain. Idempotent.
  void Stop();

  size_t queue_depth() const;
};

}  // namespace raftkv::store
