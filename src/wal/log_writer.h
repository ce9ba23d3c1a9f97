// The thread that makes the Raft log durable: everything waiting goes into one batch and one sync.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <thread>

#include "common/mailbox.h"
#include "raft/core.h"
#include "wal/fence.h"
#include "wal/log_store.h"

namespace raftkv::wal {

// Totals since start; a consistent copy is taken by LogWriter::stats().
struct LogWriterStats {
  uint64_t syncs = 0;  // fewer than tasks: what waits together is synced together
  uint64_t tasks = 0;
  uint64_t entries = 0;
  uint64_t bytes = 0;  // of payloads
};

// Owns a thread, and every write to raft_log and raft_meta while it runs. An error of a write or a
// sync aborts the process: after a failed sync nobody knows what is on the disk (the pages may have
// been dropped and the next sync then succeeds; Rebello et al., "Can Applications Recover from
// fsync Failures?", 2020), and only a restart, which reads what is there, can tell.
//
// What a cut took off the log is deleted on the same thread, in small steps between the batches,
// after the batch with the cut was synced and reported.
class LogWriter {
 public:
  // Called on the writer's thread after the sync that covers them, with the tasks in order.
  using OnDurable = std::function<void(std::span<raft::AppendTask>)>;
  // Called on the writer's thread after each sync, or after each step of deleting what was cut off,
  // with its duration in microseconds.
  using OnTime = std::function<void(uint64_t microseconds)>;

  // Starts the thread. All pointers must outlive it; `log` must have been recovered. `on_sync` and
  // `on_deleted` may be empty, `fence` null (then nothing is remembered outside the log).
  LogWriter(store::Engine* engine, LogStore* log, Fence* fence, OnDurable on_durable,
            OnTime on_sync, OnTime on_deleted = nullptr);
  // Stops.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Queues a task; any thread, but always the same one (order is the caller's). Never blocks on
  // I/O. What waits is bounded by what the core lets be in flight. After Stop it is dropped: it is
  // never reported durable.
  void Submit(raft::AppendTask task);

  // Finishes what was submitted, and deletes what was cut off, then ends the thread. Idempotent;
  // not for the writer's own thread.
  void Stop();

  LogWriterStats stats() const;
  size_t queue_depth() const;

 private:
  void Run();
  // Makes the tasks durable, all of them with one sync.
  void Write(std::span<raft::AppendTask> tasks);
  void Sync();
  void DeleteLeftovers();

  store::Engine* const engine_;
  LogStore* const log_;
  Fence* const fence_;
  const OnDurable on_durable_;
  const OnTime on_sync_;
  const OnTime on_deleted_;
  Mailbox<raft::AppendTask> queue_;
  mutable std::mutex stats_mutex_;
  LogWriterStats stats_;  // guarded by stats_mutex_
  std::thread thread_;    // last: it starts when all else is built
};

}  // namespace raftkv::wal
