// Which failed calls raftkvctl may send again, and what it knows when it gives up. Pure: no
// connections and no clock (src/tools/ctl/client.h has those).
#pragma once

#include <chrono>
#include <cstddef>
#include <string_view>

#include <grpcpp/support/status.h>

namespace raftkv::tools::ctl {

enum class CallKind {
  kRead,    // changes nothing: may be sent anywhere, any number of times
  kWrite,   // carries a session: the servers apply it once however often it is sent
  kOnce,    // changes something and has no session: sent once, never again
  kChange,  // as kOnce, but any endpoint will do: the next one if one can't be reached
  kProbe,   // asks one endpoint how it is: what it says now, or that it says nothing
};

enum class Verdict {
  kDone,     // it succeeded
  kFailed,   // it failed, and definitely changed nothing
  kUnknown,  // it may or may not have taken effect, or may still
  kApplied,  // it took effect, but its answer is lost
  kRetry,    // try again, elsewhere if there is an elsewhere
};

// The attempts of one call, in order. Not thread-safe.
class RetryPolicy {
 public:
  explicit RetryPolicy(CallKind kind) : kind_(kind) {}

  // No connection came about: the request never left.
  Verdict OnNotSent();

  // The answer to a request that was sent. `message` is looked at for the errors that sessions
  // add (src/store/kv_errors.h): "too many sessions", "applied once, answer not kept", and those of
  // a session that has expired or gone on. The latter say that this try did nothing, and that it
  // can't be known whether an earlier one did.
  //
  // UNAVAILABLE and DEADLINE_EXCEEDED leave open whether the write was proposed: even "no leader"
  // may come after another try was. Sent again with its session it is safe. Errors that come from
  // looking at the request or from applying it are final: the same request gets the same answer.
  // "Too many requests" says that this try did nothing, which settles the call only if no earlier
  // try may have done something; so does a member change that is refused because the cluster is not
  // healthy enough for it. Any other error is taken as doubt.
  Verdict OnStatus(grpc::StatusCode code, std::string_view message = {});

  // The servers have no room for another session: the write goes without one, and only once.
  bool without_session() const { return without_session_; }

  // The time for the whole call is up.
  Verdict OnDeadline() const;

  // How long the next attempt may take, of what remains of `total`. With somewhere else to go, the
  // first two get a quarter each, so that an endpoint that hangs does not use up everything; the
  // third gets the rest, so that a slow but healthy call can still end.
  std::chrono::milliseconds AttemptTimeout(std::chrono::milliseconds total,
                                           std::chrono::milliseconds remaining,
                                           size_t endpoints) const;

  // How long to wait before the next attempt: nothing while there are endpoints not yet tried, then
  // 50 ms, doubling up to 800 ms, once every round over the endpoints.
  std::chrono::milliseconds Backoff(size_t endpoints) const;

 private:
  CallKind kind_;
  size_t attempts_ = 0;
  size_t sent_ = 0;
  bool may_have_taken_effect_ = false;
  bool without_session_ = false;
};

}  // namespace raftkv::tools::ctl
