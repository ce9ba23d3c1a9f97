// How many client sessions are remembered, and for how long.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace raftkv::store {

// Part of the replicated state (AppliedRecord): they decide at apply which retried writes are
// known, so a node's own settings must not. A kSessionLimits command changes them. These here are
// in force where none was ever applied: constants of the state machine, so never change them.
struct SessionLimits {
  uint64_t sessions_max = 100'000;
  uint64_t ttl_ms = 60 * 60 * 1000;

  bool operator==(const SessionLimits&) const = default;
};

// The body of a kSessionLimits command. What the numbers are is not looked at: whatever is in the
// log must be applied alike by every version.
std::string EncodeSessionLimits(const SessionLimits& limits);
// kCorruption where it is not that.
StatusOr<SessionLimits> DecodeSessionLimits(std::string_view body);

}  // namespace raftkv::store
