#include "sim/env.h"

#include <cstdio>
#include <utility>

#include <rocksdb/system_clock.h>

#include "common/check.h"
#include "sim/file_system.h"
#include "store/table_file_system.h"
#include "store/wal_file_system.h"

namespace raftkv::sim {
namespace {

thread_local SimEnv* current = nullptr;

class EnvClock : public rocksdb::SystemClock {
 public:
  explicit EnvClock(SimClock* clock) : clock_(clock) {}
  const char* Name() const override { return "SimClock"; }
  uint64_t NowMicros() override { return clock_->micros; }
  void SleepForMicroseconds(int micros) override {
    if (micros > 0) clock_->micros += static_cast<uint64_t>(micros);
  }
  rocksdb::Status GetCurrentTime(int64_t* seconds) override {
    *seconds = static_cast<int64_t>(clock_->micros / 1'000'000);
    return rocksdb::Status::OK();
  }
  std::string TimeToString(uint64_t seconds) override { return std::to_string(seconds); }

 private:
  SimClock* const clock_;
};

}  // namespace

SimEnv::SimEnv(SimDisk* disk, SimClock* clock, uint64_t seed, uint64_t wal_fill_bytes)
    : SimEnv(rocksdb::NewCompositeEnv(store::NewTableFileSystem(store::NewWalFileSystem(
                 NewSimFileSystem(disk, clock), wal_fill_bytes, store::WalReading::kAtRest))),
             clock, seed) {}

SimEnv::SimEnv(std::unique_ptr<rocksdb::Env> files, SimClock* clock, uint64_t seed)
    : EnvWrapper(files.get()), files_(std::move(files)), clock_(clock), rng_(seed) {
  // What a RocksDB asks for that does not go through Env's virtual functions.
  file_system_ = files_->GetFileSystem();
  system_clock_ = std::make_shared<EnvClock>(clock);
}

SimEnv::~SimEnv() = default;

SimEnv::Scope::Scope(SimEnv* env) : before_(current) { current = env; }
SimEnv::Scope::~Scope() { current = before_; }

SimEnv* SimEnv::Current() { return current; }

bool SimEnv::RunOne() {
  if (jobs_.empty()) return false;
  const size_t at = rng_.Below(jobs_.size());
  const Job job = jobs_[at];
  jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(at));
  const Scope scope(this);
  job.function(job.arg);
  return true;
}

void SimEnv::Schedule(void (*function)(void*), void* arg, Priority pri, void* tag,
                      void (*unschedule)(void*)) {
  // Never at once: RocksDB holds its mutex here.
  jobs_.push_back({function, arg, pri, tag, unschedule});
}

int SimEnv::UnSchedule(void* tag, Priority pri) {
  std::deque<Job> dropped;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    if (it->tag == tag && it->priority == pri) {
      dropped.push_back(*it);
      it = jobs_.erase(it);
    } else {
      ++it;
    }
  }
  for (const Job& job : dropped) {
    if (job.unschedule != nullptr) job.unschedule(job.arg);
  }
  return static_cast<int>(dropped.size());
}

void SimEnv::StartThread(void (*)(void*), void*) {
  RAFTKV_CHECK(false, "RocksDB starts a thread of its own");
}

unsigned int SimEnv::GetThreadPoolQueueLen(Priority pri) const {
  unsigned int waiting = 0;
  for (const Job& job : jobs_) waiting += job.priority == pri ? 1 : 0;
  return waiting;
}

rocksdb::Status SimEnv::NewLogger(const std::string&, std::shared_ptr<rocksdb::Logger>* out) {
  *out = NewNullLogger();
  return rocksdb::Status::OK();
}

void SimEnv::SleepForMicroseconds(int micros) {
  if (micros > 0) clock_->micros += static_cast<uint64_t>(micros);
}

rocksdb::Status SimEnv::GetCurrentTime(int64_t* seconds) {
  *seconds = static_cast<int64_t>(clock_->micros / 1'000'000);
  return rocksdb::Status::OK();
}

rocksdb::Status SimEnv::GetHostName(char* name, uint64_t size) {
  std::snprintf(name, size, "simulated");
  return rocksdb::Status::OK();
}

std::string SimEnv::GenerateUniqueId() {
  char text[40];
  std::snprintf(text, sizeof(text), "%016llx-%016llx", static_cast<unsigned long long>(rng_.Next()),
                static_cast<unsigned long long>(rng_.Next()));
  return text;
}

}  // namespace raftkv::sim
