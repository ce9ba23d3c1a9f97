// Histories made from a store that does one thing at a time, with calls that overlap at random.
#pragma once

#include <cstdint>

#include "check/history.h"

namespace raftkv::check {

struct RandomOptions {
  size_t operations = 100;
  size_t clients = 4;
  size_t keys = 1;
  // How many different values puts write; 0: each its own.
  size_t values = 0;
  unsigned unknown_percent = 5;
  unsigned fail_percent = 2;
  // Of all operations; what is left are puts.
  unsigned get_percent = 45;
  unsigned delete_percent = 5;
  unsigned cas_percent = 10;
  unsigned txn_percent = 0;
  unsigned range_percent = 0;
  // Deletes say whether there was a key.
  bool counted_deletes = true;
  // How much longer than a call the pause before the next may be: 0 makes all overlap.
  unsigned pause_percent = 100;
};

// Linearizable, with true revisions. Half of the unanswered operations took effect, some of them
// long after the call. The same seed gives the same history.
History RandomHistory(const RandomOptions& options, uint64_t seed);

}  // namespace raftkv::check
