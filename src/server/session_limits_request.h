// What this node's flags ask of the session limits, which are the cluster's.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "common/status.h"
#include "common/types.h"
#include "store/applied_record.h"
#include "store/session_limits.h"

namespace raftkv::server {

// All must be set.
struct SessionLimitsHooks {
  // The term in which this node leads; none where it does not.
  std::function<Term()> leads;
  // Sets the cluster's limits. The outcome comes once, on any thread.
  std::function<void(const store::SessionLimits&, std::function<void(Status)>)> propose;
  std::function<void(const std::string&)> warn;
};

// A leader whose flags ask for other limits than those in force proposes its own, once: the flags
// of whoever leads decide. Any other node says in its log that its flags are not what holds.
class SessionLimitsRequest {
 public:
  using Clock = std::chrono::steady_clock;
  // How long a difference has to last until it is worth a warning: when a cluster starts, its
  // leader has yet to propose.
  static constexpr auto kPatience = std::chrono::seconds(10);

  // What was not asked for stays as it is.
  SessionLimitsRequest(std::optional<uint64_t> sessions_max, std::optional<uint64_t> ttl_ms,
                       SessionLimitsHooks hooks)
      : sessions_max_(sessions_max), ttl_ms_(ttl_ms), hooks_(std::move(hooks)) {}

  // Entries were applied, which made the state `applied`. The apply thread's.
  void OnApplied(const store::AppliedRecord& applied);

  // Now and then, by one thread.
  void Step(const store::AppliedRecord& applied, Clock::time_point now);

 private:
  store::SessionLimits Wanted(store::SessionLimits limits) const;

  const std::optional<uint64_t> sessions_max_;
  const std::optional<uint64_t> ttl_ms_;
  const SessionLimitsHooks hooks_;
  std::atomic<bool> proposing_{false};

  // Step's own.
  std::optional<Clock::time_point> differs_since_;
  std::optional<store::SessionLimits> warned_of_;
};

}  // namespace raftkv::server
