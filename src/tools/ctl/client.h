// raftkvctl's side of the wire: endpoints, connections, and calls that are sent again where that is
// safe.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "common/status.h"
#include "tools/ctl/retry_policy.h"

namespace raftkv::tools::ctl {

// Time, so that tests need not wait.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::chrono::system_clock::time_point Now() = 0;
  virtual void SleepFor(std::chrono::milliseconds duration) = 0;
  static Clock* Real();
};

struct ClientOptions {
  std::vector<std::string> endpoints;  // host:port; at least one (ParseEndpoints)
  std::chrono::milliseconds dial_timeout{2000};
  std::chrono::milliseconds command_timeout{5000};  // for the whole call, with its retries
  std::string client_id;                            // the session's name; empty: NewClientId()
};

// "a:1,http://b:2" as host:port; kInvalidArgument for anything else, and for https.
StatusOr<std::vector<std::string>> ParseEndpoints(const std::string& list);

// 128 random bits as 32 hex digits.
std::string NewClientId();

struct CallResult {
  Verdict verdict = Verdict::kFailed;  // never kRetry
  std::string error;                   // unless kDone: for people
  std::string endpoint;                // the last one asked
};

// Not thread-safe; blocks.
class Client {
 public:
  // One attempt on an open connection. The context has its deadline and metadata.
  using Rpc = std::function<grpc::Status(const std::shared_ptr<grpc::Channel>& channel,
                                         grpc::ClientContext* context)>;

  // `clock` must outlive it.
  Client(ClientOptions options, Clock* clock);

  // Tries the endpoints in turn until one succeeds, an error is final, or the time is up.
  CallResult Read(const Rpc& rpc) { return Call(CallKind::kRead, options_.endpoints, rpc); }
  // The same with a session in the metadata, a new sequence each call and the same one for every
  // attempt: however often it arrives, it is applied once.
  CallResult Write(const Rpc& rpc);
  // A change that has no session: any endpoint that can be reached, but sent only once.
  CallResult Change(const Rpc& rpc) { return Call(CallKind::kChange, options_.endpoints, rpc); }
  // One attempt at one endpoint, for a change that has no session.
  CallResult Once(const std::string& endpoint, const Rpc& rpc) {
    return Call(CallKind::kOnce, {endpoint}, rpc);
  }
  // The same for a question about the endpoint itself, which changes nothing.
  CallResult Probe(const std::string& endpoint, const Rpc& rpc) {
    return Call(CallKind::kProbe, {endpoint}, rpc);
  }

  // One attempt at one endpoint, which may take as long as it takes: a stream of a whole snapshot.
  // A peer that is gone is found out by keepalive pings.
  CallResult Stream(const std::string& endpoint, const Rpc& rpc);

  const ClientOptions& options() const { return options_; }
  Clock* clock() const { return clock_; }

 private:
  CallResult Call(CallKind kind, const std::vector<std::string>& endpoints, const Rpc& rpc);
  // An open connection, or null with the reason.
  std::shared_ptr<grpc::Channel> Dial(const std::string& endpoint,
                                      std::chrono::system_clock::time_point deadline,
                                      std::string* error);

  const ClientOptions options_;
  Clock* const clock_;
  uint64_t sequence_ = 0;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_;
};

}  // namespace raftkv::tools::ctl
