#include "bench/schedule.h"

#include <cmath>

namespace raftkv::bench {

void Schedule::Advance() {
  if (spacing_ == Spacing::kFixed) {
    // From the count, not by adding up: rounding must not change the rate.
    next_seconds_ = static_cast<double>(++taken_) / rate_;
    return;
  }
  // Between the events of a Poisson process lie exponentially distributed times.
  const double u = static_cast<double>(rng_.Next() >> 11) * 0x1p-53;
  next_seconds_ += -std::log1p(-u) / rate_;
}

}  // namespace raftkv::bench
