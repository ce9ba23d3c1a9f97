// The apply thread: the only writer of the kv column family.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "common/mailbox.h"
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
  // What was submitted and waits is applied together, one RocksDB batch for all, up to here.
  size_t batch_entries_max = 4096;
  size_t batch_bytes_max = 4 << 20;
};

// Owns the apply thread; the store's Apply and CompactStep are called there and nowhere else.
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

  // Queues the switch to a snapshot that ends at `index` (KvStore::SwitchTo), after what was
  // submitted before; batches submitted later follow `index`. Reported by OnApplied like a batch.
  void SwitchTo(uint64_t staged_id, Index index);

  // Calls `ready` once everything up to `index` is applied: at once, on the caller's thread, if it
  // is already, else on the apply thread. With false if the loop stops first. Any thread.
  void WhenApplied(Index index, std::function<void(bool applied)> ready);

  // What WhenApplied would answer at once. Any thread.
  Index applied() const { return Index(applied_index_.load()); }

  // Calls `done` on the apply thread once versions made unreachable by compaction up to `revision`
  // are gone (etcd's physical compaction). With false if the loop stops first.
  void WhenCompacted(int64_t revision, std::function<void(bool compacted)> done);

  // Applies what was submitted, then ends the thread; fails waiters that remain. Idempotent.
  void Stop();

  // Things waiting for the apply thread.
  size_t queue_depth() const;

  // The CPU time in microseconds that applying entries took since the start, clearing away old
  // versions not counted: about what applying them again would take. Any thread.
  uint64_t apply_cpu_us() const { return apply_cpu_us_.load(std::memory_order_relaxed); }

 private:
  struct AppliedWaiter {
    Index index;
    std::function<void(bool)> ready;
  };
  struct CompactedWaiter {
    int64_t revision = 0;
    std::function<void(bool)> done;
  };
  struct Switch {
    uint64_t staged_id = 0;
    Index index;
  };
  using Item = std::variant<ApplyBatch, AppliedWaiter, CompactedWaiter, Switch>;

  void Run();
  void TakeBatch(ApplyBatch batch);
  void ApplyPending();
  void ApplySome(size_t* applied, size_t* answered);
  void CarryOut(const Switch& change);
  void AnswerWaiters();
  void FailWaiters();
  bool CompactionPending() const;

  KvStore* const store_;
  const ApplyLoopOptions options_;
  const OnApplied on_applied_;
  Mailbox<Item> mailbox_;
  std::atomic<uint64_t> applied_index_;
  std::atomic<uint64_t> apply_cpu_us_{0};

  // The apply thread's own: entries taken from the mailbox and not yet applied, with their waiters,
  // and those who wait for a position.
  ApplyBatch pending_;
  size_t pending_bytes_ = 0;
  std::vector<bool> awaited_;  // by position in pending_
  std::vector<ApplyResult> results_;
  std::multimap<uint64_t, std::function<void(bool)>> applied_waiters_;
  std::multimap<int64_t, std::function<void(bool)>> compacted_waiters_;

  std::mutex stop_mutex_;  // of Stop's callers
  std::thread thread_;     // last: it uses all of the above
};

}  // namespace raftkv::store
