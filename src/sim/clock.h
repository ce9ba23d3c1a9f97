// Simulated time.
#pragma once

#include <cstdint>

namespace raftkv::sim {

// What a node believes the time to be. The simulator sets it.
struct SimClock {
  uint64_t micros = 0;
};

}  // namespace raftkv::sim
