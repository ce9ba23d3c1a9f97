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
  ProcessEnd(const std::string& what, bool of_core) : std::runtime_error(what), of_core_(of_core) {}
  // One of the core's. No disk is an excuse for that: what the core is given was checked.
  bool of_core() const { return of_core_; }

 private:
  bool of_core_;
};

// Starts RocksDB's own generator of random numbers, one a thread, from a seed. Once before a run.
void SeedRocksDb(uint32_t seed);

}  // namespace raftkv::sim
