// The checker: could one key-value store, that does one thing at a time, have given these answers?
//
// Linearizability composes (Herlihy and Wing 1990, theorem 1), so keys that no operation has in
// common are checked apart.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "check/history.h"
#include "check/search.h"

namespace raftkv::check {

struct CheckOptions {
  // For the verdict; then up to 10 s for each violation, to make it small.
  std::chrono::milliseconds time_max{60'000};
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t seed = 1;  // of the memo's fingerprints
  bool revisions = true;
};

// What is wrong, in as few operations as could be found: no order of these explains their answers,
// whatever the rest of the history was.
struct Violation {
  std::string why;
  std::vector<size_t> ops;        // positions in the history, by invocation
  std::vector<std::string> keys;  // that these operations share
};

struct CheckReport {
  Verdict verdict = Verdict::kOk;
  std::string why;  // when the verdict is kUnknown: the first reason
  // One for each impossible answer, and for each group of keys that is illegal without those.
  std::vector<Violation> violations;
  size_t groups = 0;         // of keys that were checked together
  size_t largest_group = 0;  // operations of the one that has most
  size_t unknown_groups = 0;
  uint64_t configurations = 0;
};

// Operations as positions in the history, one list for each group of keys that operations have in
// common, in no particular order. Refused operations count: a value they wrote may have been seen.
std::vector<std::vector<size_t>> SplitByKeys(const History& history);

// kIllegal when any answer is impossible by itself, any group of keys is illegal, or the revisions
// are (check/revisions.h); else kUnknown when any group could not be decided; else kOk.
CheckReport Check(const History& history, const CheckOptions& options);

}  // namespace raftkv::check
