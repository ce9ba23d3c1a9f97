// The smallest illegal part of an illegal history.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "check/history.h"

namespace raftkv::check {

// `ops` are illegal (positions in `history`). Returns some of them that are illegal by themselves:
// those up to the first return at which it shows, less all that could be left out one after the
// other until `deadline`. An operation is only left out, or part of its answer ignored, where a
// good history stays good without it, so what is returned is a proof. Operations that return after
// the window count as unanswered in it.
std::vector<size_t> Shrink(const History& history, const std::vector<size_t>& ops, uint64_t seed,
                           std::chrono::steady_clock::time_point deadline);

}  // namespace raftkv::check
