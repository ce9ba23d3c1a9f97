// RocksDB's surroundings on one thread: its background work waits in a queue until the simulator
// runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include <rocksdb/env.h>

#include "common/rng.h"
#include "sim/clock.h"
#include "sim/disk.h"

namespace raftkv::sim {

// Owned by one node, and lives through its restarts. All calls come from the simulator's thread.
//
// Work that RocksDB schedules is run by RunOne, between the simulator's steps; and when RocksDB
// would wait for it (a flush with wait=true, a close): seams.cc turns such a wait of the thread
// that is Current into RunOne. So the order of everything follows from the seed.
class SimEnv : public rocksdb::EnvWrapper {
 public:
  // `disk` and `clock` must outlive it. `wal_fill_bytes` as in NewWalFileSystem, which is in use
  // here as in a real node.
  SimEnv(SimDisk* disk, SimClock* clock, uint64_t seed, uint64_t wal_fill_bytes);
  ~SimEnv() override;

  const char* Name() const override { return "SimEnv"; }

  bool HasWork() const { return !jobs_.empty(); }
  // Runs one piece of background work, which one by the seed. False when there is none.
  bool RunOne();

  // Makes it the one whose work is run when this thread would wait. Nests.
  class Scope {
   public:
    explicit Scope(SimEnv* env);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    SimEnv* const before_;
  };
  // Null outside any Scope, and on other threads.
  static SimEnv* Current();

  void Schedule(void (*function)(void*), void* arg, Priority pri, void* tag,
                void (*unschedule)(void*)) override;
  int UnSchedule(void* tag, Priority pri) override;
  void StartThread(void (*function)(void*), void* arg) override;
  void WaitForJoin() override {}
  unsigned int GetThreadPoolQueueLen(Priority pri) const override;
  void SetBackgroundThreads(int, Priority) override {}
  int GetBackgroundThreads(Priority) override { return 1; }
  void IncBackgroundThreadsIfNeeded(int, Priority) override {}
  void LowerThreadPoolIOPriority(Priority) override {}
  void LowerThreadPoolCPUPriority(Priority) override {}
  rocksdb::Status LowerThreadPoolCPUPriority(Priority, rocksdb::CpuPriority) override {
    return rocksdb::Status::OK();
  }

  rocksdb::Status NewLogger(const std::string& path,
                            std::shared_ptr<rocksdb::Logger>* out) override;
  uint64_t NowMicros() override { return clock_->micros; }
  uint64_t NowNanos() override { return clock_->micros * 1000; }
  uint64_t NowCPUNanos() override { return clock_->micros * 1000; }
  void SleepForMicroseconds(int micros) override;
  rocksdb::Status GetCurrentTime(int64_t* seconds) override;
  rocksdb::Status GetHostName(char* name, uint64_t size) override;
  uint64_t GetThreadID() const override { return 1; }
  std::string GenerateUniqueId() override;

 private:
  struct Job {
    void (*function)(void*) = nullptr;
    void* arg = nullptr;
    Priority priority = LOW;
    void* tag = nullptr;
    void (*unschedule)(void*) = nullptr;
  };

  SimEnv(std::unique_ptr<rocksdb::Env> files, SimClock* clock, uint64_t seed);

  const std::unique_ptr<rocksdb::Env> files_;
  SimClock* const clock_;
  Rng rng_;
  std::deque<Job> jobs_;
};

}  // namespace raftkv::sim
