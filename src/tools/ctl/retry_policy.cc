#include "tools/ctl/retry_policy.h"

#include <algorithm>

namespace raftkv::tools::ctl {
namespace {

constexpr std::string_view kAppliedOnce = "raftkv: the write was applied once";
constexpr std::string_view kNotForLearners = "etcdserver: rpc not supported for learner";
constexpr std::string_view kTooManySessions = "raftkv: too many sessions";
constexpr std::string_view kNoSession = "raftkv: the session does not exist";
constexpr std::string_view kStaleSequence = "raftkv: the session has already gone past";
constexpr std::string_view kTooManyDeletes = "raftkv: this would delete more than";
constexpr std::string_view kUnhealthyCluster = "etcdserver: unhealthy cluster";

// Errors that follow from the request and the replicated state alone.
bool IsFinal(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::UNIMPLEMENTED:
      return true;
    default:
      return false;
  }
}

// Errors a server gives before it proposes anything.
bool DidNothing(grpc::StatusCode code, std::string_view message) {
  return code == grpc::StatusCode::RESOURCE_EXHAUSTED ||
         (code == grpc::StatusCode::UNAVAILABLE &&
          (message == kUnhealthyCluster || message == kNotForLearners));
}

// Errors that say nothing of an earlier try of the write: its session is not known any more, or was
// not asked, because what the write would do by now was looked at first.
bool SaysNothingOfEarlierTries(std::string_view message) {
  return message.starts_with(kNoSession) || message.starts_with(kStaleSequence) ||
         message.starts_with(kTooManyDeletes);
}

}  // namespace

Verdict RetryPolicy::OnNotSent() {
  ++attempts_;
  const bool once = kind_ == CallKind::kOnce || kind_ == CallKind::kProbe;
  return once ? Verdict::kFailed : Verdict::kRetry;
}

Verdict RetryPolicy::OnStatus(grpc::StatusCode code, std::string_view message) {
  ++attempts_;
  ++sent_;
  if (code == grpc::StatusCode::OK) return Verdict::kDone;
  if (message.starts_with(kAppliedOnce)) return Verdict::kApplied;
  if (kind_ == CallKind::kWrite && !may_have_taken_effect_ && message == kTooManySessions) {
    kind_ = CallKind::kOnce;
    without_session_ = true;
    return Verdict::kRetry;
  }
  if (may_have_taken_effect_ && SaysNothingOfEarlierTries(message)) return Verdict::kUnknown;
  if (IsFinal(code) || kind_ == CallKind::kProbe) return Verdict::kFailed;
  const bool worth_retrying =
      code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (kind_ == CallKind::kRead) return worth_retrying ? Verdict::kRetry : Verdict::kFailed;
  if (!DidNothing(code, message)) may_have_taken_effect_ = true;
  if (kind_ == CallKind::kOnce || kind_ == CallKind::kChange) return OnDeadline();
  if (worth_retrying || may_have_taken_effect_) return Verdict::kRetry;
  return Verdict::kFailed;
}

Verdict RetryPolicy::OnDeadline() const {
  return may_have_taken_effect_ ? Verdict::kUnknown : Verdict::kFailed;
}

std::chrono::milliseconds RetryPolicy::AttemptTimeout(std::chrono::milliseconds total,
                                                      std::chrono::milliseconds remaining,
                                                      size_t endpoints) const {
  if (endpoints < 2 || sent_ >= 2) return remaining;
  return std::min(remaining, total / 4);
}

std::chrono::milliseconds RetryPolicy::Backoff(size_t endpoints) const {
  if (attempts_ == 0 || attempts_ % endpoints != 0) return std::chrono::milliseconds(0);
  const size_t round = std::min<size_t>(attempts_ / endpoints, 5);
  return std::chrono::milliseconds(50 << (round - 1));
}

}  // namespace raftkv::tools::ctl
