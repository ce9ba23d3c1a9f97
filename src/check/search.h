// Looks for an order that explains a problem's answers.
//
// Wing and Gong's search ("Testing and Verifying Concurrent Objects", 1993): of the operations that
// began before any other must have ended, take one that fits the current values, and go on; go back
// when none fits. With Lowe's memo ("Testing for linearizability", 2017): a configuration (which
// operations are done, and the values) is not searched twice.
//
// It also never tries what can't help:
// - an operation that only looks, and fits, is taken at once: where there is an order, there is one
//   with it here;
// - a value that must still be seen and that nobody can write again is not overwritten;
// - an operation that need not be waits for its twin (ProblemOp), and is not taken to change
//   nothing.
// With values that are written once this leaves little to search, also with many unacknowledged
// writes.
//
// The memo holds 128-bit fingerprints. Two configurations of one fingerprint would make the search
// skip one of them, and so perhaps call a good history illegal, with a probability of 2^-80 for a
// billion configurations; whoever reports an illegal history searches its smallest part again with
// another seed.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "check/problem.h"

namespace raftkv::check {

enum class Verdict {
  kOk,       // there is an order
  kIllegal,  // there is none
  kUnknown,  // a limit was reached before that was known
};

struct SearchLimits {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  uint64_t memory_bytes = uint64_t{1} << 30;  // of the memo and what is still to be tried, about
};

struct SearchResult {
  Verdict verdict = Verdict::kUnknown;
  std::string why;              // when it is not kOk
  uint64_t configurations = 0;  // visited
  std::vector<size_t> order;    // kOk: an order, as ProblemOp::source
};

SearchResult Search(const Problem& problem, const SearchLimits& limits, uint64_t seed);

}  // namespace raftkv::check
