#include "server/session_limits_request.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace raftkv::server {
namespace {

std::string Words(const store::SessionLimits& limits) {
  return "max_sessions=" + std::to_string(limits.sessions_max) +
         " session_ttl=" + std::to_string(limits.ttl_ms);
}

}  // namespace

store::SessionLimits SessionLimitsRequest::Wanted(store::SessionLimits limits) const {
  limits.sessions_max = sessions_max_.value_or(limits.sessions_max);
  limits.ttl_ms = ttl_ms_.value_or(limits.ttl_ms);
  return limits;
}

void SessionLimitsRequest::OnApplied(const store::AppliedRecord& applied) {
  const store::SessionLimits wanted = Wanted(applied.session_limits);
  if (wanted == applied.session_limits) return;
  // With the first entry of its own term a leader has applied all that earlier ones committed.
  if (applied.position.term != hooks_.leads() || proposing_.exchange(true)) return;
  spdlog::info("session limits are {}: proposing {}", Words(applied.session_limits), Words(wanted));
  hooks_.propose(wanted, [this, wanted](const Status& status) {
    // Where it failed, whatever is applied next has it tried again, if this node still leads.
    proposing_ = false;
    if (status.ok()) {
      spdlog::info("session limits are {} from now on", Words(wanted));
    } else {
      spdlog::warn("session limits were not changed: {}", status.ToString());
    }
  });
}

void SessionLimitsRequest::Step(const store::AppliedRecord& applied, Clock::time_point now) {
  const store::SessionLimits& limits = applied.session_limits;
  const store::SessionLimits wanted = Wanted(limits);
  if (wanted == limits) {
    differs_since_.reset();
    warned_of_.reset();
    return;
  }
  if (!differs_since_) differs_since_ = now;
  if (now - *differs_since_ < kPatience || warned_of_ == limits) return;
  warned_of_ = limits;
  hooks_.warn("the cluster's session limits are " + Words(limits) +
              ", not what this node's flags ask for (" + Words(wanted) +
              "): the leader's flags decide; set --max-sessions and --session-ttl alike on all "
              "members");
}

}  // namespace raftkv::server
