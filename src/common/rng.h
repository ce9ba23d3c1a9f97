// A small seedable generator, so that every random choice can be replayed from its seed.
#pragma once

#include <cstdint>

namespace raftkv {

// splitmix64: one 64-bit word of state, good enough for timeouts and test schedules, and the same
// sequence on every platform and standard library (std::uniform_int_distribution is not).
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  // A number in [0, n). `n` must not be 0.
  uint64_t Below(uint64_t n) { return Next() % n; }

  // A number in [low, high], both included.
  uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }

  // True with probability `percent` in a hundred.
  bool Percent(uint64_t percent) { return Below(100) < percent; }

 private:
  uint64_t state_;
};

}  // namespace raftkv
