// The node's upkeep: flushes the applied state so that a restart replays little, has the log cut
// behind it, watches the free space of the disk, and has the members' data compared.
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
  uint64_t free_space_reserve_bytes = 0;        // 0: not watched
  std::chrono::seconds replica_check_every{0};  // 0: never
};

// What maintenance works on. All must be set; none is called before Start (or Step).
struct MaintenanceHooks {
  std::function<Index()> applied;
  std::function<StatusOr<Index>()> durable_applied;
  std::function<uint64_t()> bytes_applied;  // since the start
  std::function<Index()> log_first;
  std::function<Status()> flush;  // may take its time
  std::function<void(Index)> cut;
  std::function<bool()> hold_cut;  // somebody still needs the log's beginning
  std::function<StatusOr<uint64_t>()> free_bytes;
  std::function<bool()> space_alarm_raised;      // this node's own
  std::function<void(bool raise)> change_alarm;  // may be repeated until it shows
  std::function<bool()> leads;
  std::function<void()> check_replicas;  // starts a comparison; does not wait for it
  std::function<void()> refresh;         // at every step
};

struct MaintenanceStats {
  uint64_t flushes = 0;
  uint64_t cuts_asked = 0;
  uint64_t replica_checks = 0;
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
  void WatchSpace(Clock::time_point now);
  void CheckReplicas(Clock::time_point now);

  const MaintenanceOptions options_;
  const MaintenanceHooks hooks_;

  // The thread's own.
  ReplayMeter meter_;
  Index durable_;
  Index cut_asked_;
  Clock::time_point next_space_check_{};
  Clock::time_point next_replica_check_{};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  MaintenanceStats stats_;
  std::thread thread_;
};

// Free bytes for this user in the file system that holds `path`.
StatusOr<uint64_t> FreeBytes(const std::string& path);

}  // namespace raftkv::server
