// The node's upkeep: flushes the applied state so that a restart replays little, has the log cut
// behind it and the WAL freed, and watches the free space of the disk.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "common/status.h"
#include "common/types.h"
#include "server/maintenance_plan.h"

namespace raftkv::server {

struct MaintenanceOptions {
  FlushLimits flush;
  uint64_t log_tail_entries = 5000;
  uint64_t log_tail_bytes = UINT64_MAX;
  uint64_t free_space_reserve_bytes = 0;  // 0: not watched
};

// Upkeep that takes time; kCut is the log writer's part of it.
enum class UpkeepTask { kFlush, kFlushLog, kCut, kSpace };

// What maintenance works on. All must be set; none is called before Start (or Step).
struct MaintenanceHooks {
  std::function<Index()> applied;
  std::function<StatusOr<Index>()> durable_applied;
  std::function<uint64_t()> bytes_applied;  // since the start
  std::function<uint64_t()> apply_us;       // of CPU, spent applying since the start
  std::function<Index()> log_first;
  std::function<Status()> flush;      // may take its time
  std::function<Status()> flush_log;  // likewise
  std::function<void(Index)> cut;
  std::function<bool()> hold_cut;  // somebody still needs the log's beginning
  std::function<StatusOr<uint64_t>()> free_bytes;
  std::function<bool()> space_alarm_raised;      // this node's own
  std::function<void(bool raise)> change_alarm;  // may be repeated until it shows
  // At every step: what has a schedule of its own (ReplicaCheck) or none.
  std::function<void(std::chrono::steady_clock::time_point now)> step;
  std::function<void(UpkeepTask, double seconds)> took;
};

struct MaintenanceStats {
  uint64_t flushes = 0;
  uint64_t log_flushes = 0;
  uint64_t cuts_asked = 0;
  uint64_t free_bytes = 0;   // as last seen
  double flush_seconds = 0;  // spent in flushes, in which nothing else of maintenance happens
};

// Owns a thread once started. Step is the thread's own, or a test's.
class Maintenance {
 public:
  using Clock = std::chrono::steady_clock;

  Maintenance(const MaintenanceOptions& options, MaintenanceHooks hooks);
  ~Maintenance();

  void Start();
  // Idempotent; waits for a flush under way.
  void Stop();

  // Everything that is due at `now`.
  void Step(Clock::time_point now);

  MaintenanceStats stats() const;

 private:
  void Run();
  void FlushIfDue(Index applied);
  void CutIfDue();
  uint64_t TailEntries();
  void FlushLogIfDue();
  void WatchSpace(Clock::time_point now);

  const MaintenanceOptions options_;
  const MaintenanceHooks hooks_;

  // The thread's own.
  ReplayMeter bytes_;
  ReplayMeter apply_us_;
  ReplayMeter tail_bytes_;
  Index durable_;
  Index cut_asked_;
  // Where the applied state was flushed up to when the step before began, and when the log was
  // flushed for the last time.
  Index durable_before_;
  Index log_flushed_at_;
  Clock::time_point next_space_check_{};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  MaintenanceStats stats_;
  std::thread thread_;
};

// Free bytes for this user in the file system that holds `path`.
StatusOr<uint64_t> FreeBytes(const std::string& path);

}  // namespace raftkv::server
