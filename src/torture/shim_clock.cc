// The shim's other half (shim.cc): moves the node's wall clock, and what waits for it.
//
//   RAFTKV_TORTURE_CLOCK  a file of 8 bytes: nanoseconds to add to the wall clock
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

// The offset in RAFTKV_TORTURE_CLOCK's file; null: there is none.
const std::atomic<int64_t>* ClockOffset() {
  static const std::atomic<int64_t>* const offset = [] {
    const char* path = getenv("RAFTKV_TORTURE_CLOCK");
    if (path == nullptr) return static_cast<const std::atomic<int64_t>*>(nullptr);
    const int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
    void* map = fd < 0 ? MAP_FAILED : mmap(nullptr, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) syscall(SYS_close, fd);
    return map == MAP_FAILED ? nullptr : static_cast<const std::atomic<int64_t>*>(map);
  }();
  return offset;
}

// By `sign` times the offset.
void Move(timespec* time, int sign) {
  const auto* offset = ClockOffset();
  if (offset == nullptr || time == nullptr) return;
  const int64_t ns = time->tv_sec * 1'000'000'000 + time->tv_nsec + sign * offset->load();
  time->tv_sec = ns / 1'000'000'000;
  time->tv_nsec = ns % 1'000'000'000;
}

int RealClock(clockid_t clock, timespec* time) {
  using Function = int (*)(clockid_t, timespec*);
  // Looked up: the system call would be many times slower, and RocksDB asks often.
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  return real != nullptr ? real(clock, time)
                         : static_cast<int>(syscall(SYS_clock_gettime, clock, time));
}

// Who waits until a time of the moved clock, waits for the kernel's.
bool IsWallClock(const timespec* time) {
  constexpr time_t kYear2001 = 1'000'000'000;  // no machine has been up for so long
  return time != nullptr && time->tv_sec > kYear2001;
}

}  // namespace

// NOLINTBEGIN: the C library's names and types.
extern "C" {

int clock_gettime(clockid_t clock, struct timespec* time) {
  const int result = RealClock(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) Move(time, 1);
  return result;
}

int gettimeofday(struct timeval* time, void*) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const struct timespec* until) {
  using Function = int (*)(pthread_cond_t*, pthread_mutex_t*, const timespec*);
  // Not the first version, which is for programs of another kind of condition.
  static const auto real = [] {
    void* found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return reinterpret_cast<Function>(
        found != nullptr ? found : dlsym(RTLD_NEXT, "pthread_cond_timedwait"));
  }();
  timespec moved = *until;
  if (IsWallClock(until)) Move(&moved, -1);
  return real(condition, mutex, &moved);
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const struct timespec* until) {
  using Function = int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pthread_cond_clockwait"));
  timespec moved = *until;
  if (clock == CLOCK_REALTIME) Move(&moved, -1);
  return real(condition, mutex, clock, &moved);
}

// gRPC waits by system calls of its own (absl's futexes).
long syscall(long number, ...) {
  using Function = long (*)(long, ...);
  // No static local: those wait by this very call.
  static std::atomic<Function> real{nullptr};
  Function function = real.load(std::memory_order_relaxed);
  if (function == nullptr) {
    function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "syscall"));
    real.store(function, std::memory_order_relaxed);
  }
  std::array<long, 6> a{};
  va_list arguments;
  va_start(arguments, number);
  for (long& argument : a) argument = va_arg(arguments, long);
  va_end(arguments);
  timespec moved{};
  const auto* until = reinterpret_cast<const timespec*>(a[3]);
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) != 0 && IsWallClock(until)) {
    moved = *until;
    Move(&moved, -1);
    a[3] = reinterpret_cast<long>(&moved);
  }
  return function(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

time_t time(time_t* out) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
// NOLINTEND
