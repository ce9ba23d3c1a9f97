// When the requests of an open loop are to start. Time comes in from outside, so that tests drive
// it by hand.
#pragma once

#include <chrono>
#include <cstdint>

#include "common/rng.h"

namespace raftkv::bench {

using Clock = std::chrono::steady_clock;

inline Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

enum class Spacing { kFixed, kPoisson };

// Starts at a rate that does not depend on the answers: if the server stalls, requests go on
// falling due, as they do with users who do not know of each other.
class Schedule {
 public:
  // `rate`: starts a second.
  Schedule(double rate, Spacing spacing, uint64_t seed, Clock::time_point begin)
      : rate_(rate), spacing_(spacing), rng_(seed), begin_(begin) {
    if (spacing_ == Spacing::kPoisson) Advance();
  }

  // The next start that was not taken.
  Clock::time_point next() const { return begin_ + Seconds(next_seconds_); }

  // Takes it if it is due.
  bool TakeDue(Clock::time_point now, Clock::time_point* start) {
    if (next() > now) return false;
    *start = next();
    Advance();
    return true;
  }

 private:
  void Advance();

  const double rate_;
  const Spacing spacing_;
  Rng rng_;
  const Clock::time_point begin_;
  uint64_t taken_ = 0;
  double next_seconds_ = 0;  // after begin_
};

}  // namespace raftkv::bench
