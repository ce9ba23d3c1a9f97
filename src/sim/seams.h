// Where the simulator takes the place of what a program normally gets from the system. See
// seams.cc, which must be linked into a program itself, not through an archive.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace raftkv::sim {

// A failed RAFTKV_CHECK of code under test: the node it happened on would have ended its process.
class ProcessEnd : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Starts RocksDB's own generator of random numbers, one a thread, from a seed. Once before a run.
void SeedRocksDb(uint32_t seed);

}  // namespace raftkv::sim
