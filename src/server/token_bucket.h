// Limits a rate; the caller keeps the time.
#pragma once

#include <chrono>
#include <cstdint>

namespace raftkv::server {

// Not thread-safe.
class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `per_second` 0: no limit. Up to a tenth of a second's worth may go at once after a rest.
  explicit TokenBucket(uint64_t per_second) : per_second_(per_second) {}

  // Takes `amount` and says how long to wait before using it.
  std::chrono::nanoseconds Take(uint64_t amount, Time now);

 private:
  const uint64_t per_second_;
  Time paid_until_{};  // when all that was taken so far will have been paid for
};

}  // namespace raftkv::server
