#include "server/token_bucket.h"

#include <algorithm>

namespace raftkv::server {

std::chrono::nanoseconds TokenBucket::Take(uint64_t amount, Time now) {
  using std::chrono::nanoseconds;
  if (per_second_ == 0) return nanoseconds(0);
  constexpr auto kBurst = std::chrono::milliseconds(100);
  // What was not used in the past is gone, but for the burst.
  paid_until_ = std::max<Time>(paid_until_, now - kBurst);
  paid_until_ += nanoseconds(
      static_cast<int64_t>(static_cast<double>(amount) * 1e9 / static_cast<double>(per_second_)));
  return std::max(std::chrono::duration_cast<nanoseconds>(paid_until_ - now), nanoseconds(0));
}

}  // namespace raftkv::server
