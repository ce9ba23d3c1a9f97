// Functions that this program defines in place of those of a library. The dynamic linker finds ours
// first, also when librocksdb calls them.
//
// RocksDB is written for many threads. On the simulator's one thread
// - a wait on a condition variable runs background work instead: whoever waits does so for that
//   work, and checks its condition again afterwards, for pthread_cond_wait may wake for no reason;
// - a thread that RocksDB starts (it opens tables with several) is run at once, to its end, by
//   whoever starts it;
// - there are no periodic tasks, which live in a thread of their own (they flush RocksDB's log);
// - a machine has two processors, whatever this one has;
// - an array is as large as was asked for. glibc gives a few bytes more now and then, and RocksDB,
//   which counts a memtable's memory by malloc_usable_size, would write it out sooner or later;
// - a compaction's keys are not looked at for its statistics, which nobody reads: where one that
//   has nothing to write meets an I/O error there are none, and Debian's build then ends the
//   program (RocksDbFactsDeathTest);
// - a failed check ends the node, not the program.
// On other threads, and outside a SimEnv::Scope, everything is as usual.

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>

#include <rocksdb/slice.h>
#include <rocksdb/status.h>

#include "common/check.h"
#include "sim/env.h"
#include "sim/seams.h"

namespace {

template <typename Function>
Function Real(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "raftkv-sim: %s is nowhere\n", name);
    std::abort();
  }
  return reinterpret_cast<Function>(found);
}

// Runs background work; false when there is none, or this thread is not the simulator's.
bool RunInsteadOfWaiting(pthread_mutex_t* mutex) {
  raftkv::sim::SimEnv* const env = raftkv::sim::SimEnv::Current();
  pthread_mutex_unlock(mutex);
  const bool ran = env->RunOne();
  pthread_mutex_lock(mutex);
  return ran;
}

// No thread has it; the threads it stands for have ended.
constexpr pthread_t kEndedThread = 1;

// A sanitizer's allocator says what was asked for by itself, and would not have us look in front of
// what may be no array.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAFTKV_EXACT_ALLOCATOR
#endif

#ifndef RAFTKV_EXACT_ALLOCATOR
// In front of every array, also of those that are made outside of a SimEnv::Scope: they may be
// freed within.
struct alignas(16) ArrayHeader {
  uintptr_t mark;
  size_t bytes;
};
uintptr_t MarkOf(const void* array) {
  return reinterpret_cast<uintptr_t>(array) ^ 0x5eed5eed5eed5eedu;
}

void FreeArray(void* array) {
  if (array == nullptr) return;
  ArrayHeader* const header = static_cast<ArrayHeader*>(array) - 1;
  header->mark = 0;
  std::free(header);
}
#endif

}  // namespace

#ifndef RAFTKV_EXACT_ALLOCATOR
void* operator new[](size_t bytes) {
  auto* const header = static_cast<ArrayHeader*>(std::malloc(sizeof(ArrayHeader) + bytes));
  if (header == nullptr) throw std::bad_alloc();
  header->mark = MarkOf(header + 1);
  header->bytes = bytes;
  return header + 1;
}
void operator delete[](void* array) noexcept { FreeArray(array); }
void operator delete[](void* array, size_t) noexcept { FreeArray(array); }
#endif

extern "C" {

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  if (raftkv::sim::SimEnv::Current() == nullptr) {
    static const auto real = Real<int (*)(pthread_cond_t*, pthread_mutex_t*)>("pthread_cond_wait");
    return real(condition, mutex);
  }
  if (!RunInsteadOfWaiting(mutex)) {
    std::fprintf(stderr, "raftkv-sim: RocksDB waits for work that was never scheduled\n");
    std::abort();
  }
  return 0;
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const struct timespec* until) {
  if (raftkv::sim::SimEnv::Current() == nullptr) {
    static const auto real =
        Real<int (*)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*)>(
            "pthread_cond_timedwait");
    return real(condition, mutex, until);
  }
  return RunInsteadOfWaiting(mutex) ? 0 : ETIMEDOUT;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) {
  if (raftkv::sim::SimEnv::Current() == nullptr) {
    static const auto real =
        Real<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create");
    return real(thread, attributes, run, argument);
  }
  *thread = kEndedThread;
  run(argument);
  return 0;
}

int pthread_join(pthread_t thread, void** result) {
  if (thread == kEndedThread) return 0;
  static const auto real = Real<int (*)(pthread_t, void**)>("pthread_join");
  return real(thread, result);
}

int get_nprocs(void) { return 2; }

#ifndef RAFTKV_EXACT_ALLOCATOR
size_t malloc_usable_size(void* array) noexcept {
  if (array == nullptr) return 0;
  const ArrayHeader* const header = static_cast<ArrayHeader*>(array) - 1;
  if (header->mark == MarkOf(array)) return header->bytes;
  static const auto real = Real<size_t (*)(void*)>("malloc_usable_size");
  return real(array);
}
#endif

}  // extern "C"

namespace rocksdb {

// As declared in util/random.h, db/db_impl/db_impl.h and db/compaction/compaction_state.h of
// RocksDB 7.8, as far as is needed here.
class Random {
 public:
  static Random* GetTLSInstance();
  uint32_t seed;
};
class DBImpl {
 public:
  Status StartPeriodicTaskScheduler();
};

class CompactionState {
 public:
  Slice SmallestUserKey();
  Slice LargestUserKey();
};

Status DBImpl::StartPeriodicTaskScheduler() { return Status::OK(); }
Slice CompactionState::SmallestUserKey() { return {}; }
Slice CompactionState::LargestUserKey() { return {}; }

}  // namespace rocksdb

namespace raftkv {

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  const std::string where = file;
  // The core reads one thing from the disk, its log, and can't go on without it.
  const bool of_core = where.find("src/raft/") != std::string::npos &&
                       !message.starts_with("the log can't be read back");
  throw sim::ProcessEnd(
      where + ":" + std::to_string(line) + ": check failed: " + condition + ": " + message,
      of_core);
}

namespace sim {

void SeedRocksDb(uint32_t seed) {
  seed &= 0x7fffffffu;
  rocksdb::Random::GetTLSInstance()->seed = seed == 0 || seed == 0x7fffffffu ? 1 : seed;
}

}  // namespace sim
}  // namespace raftkv
