// The thread that makes the Raft log durable: everything waiting goes into one batch and one sync.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "raft/core.h"
#include "wal/log_store.h"

namespace raftkv::wal {

// Totals since start; a consistent copy is taken by LogWriter::stats().
struct LogWriterStats {
  uint64_t syncs = 0;
  uint64_t tasks = 0;
  uint64_t entries = 0;
  uint64_t bytes = 0;
};

class LogWriter {
 public:
  // Called on the writer's thread after the sync that covers them, with the tasks in order.
  using OnDurable = std::function<void(std::span<raft::AppendTask>)>;
  // Called on the writer's thread after each sync, with its duration in microseconds.
  using OnSync = std::function<void(uint64_t microseconds)>;

  // Starts the thread. All pointers must outlive it.
  LogWriter(store::Engine* engine, LogStore* log, OnDurable on_durable, OnSync on_sync);
  // Stops.
  ~LogWriter();

  // Queues a task; any thread, but always the same one (order is the caller's). Never blocks on
  // I/O. What waits is bounded by what the core lets be in flight.
  void Submit(raft::AppendTask task);

  // Finishes what was submitted, then ends the thread. Idempotent.
  void Stop();

  LogWriterStats stats() const;
  size_t queue_depth() const;
};

}  // namespace raftkv::wal
