#include "tools/ctl/client.h"

#include <algorithm>
#include <charconv>
#include <random>
#include <thread>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::system_clock;

class RealClock : public Clock {
 public:
  system_clock::time_point Now() override { return system_clock::now(); }
  void SleepFor(milliseconds duration) override { std::this_thread::sleep_for(duration); }
};

std::shared_ptr<grpc::Channel> NewChannel(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  // Every retry is this client's decision (RetryPolicy).
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // An http_proxy variable is for web pages, not for the nodes of a cluster.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A call without a deadline must not wait for ever on a machine that went away.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // A channel made anew must not inherit the backoff of the one before.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return grpc::CreateCustomChannel("dns:///" + endpoint, grpc::InsecureChannelCredentials(),
                                   arguments);
}

std::string Describe(const grpc::Status& status) {
  if (!status.error_message().empty()) return status.error_message();
  return "gRPC status " + std::to_string(status.error_code());
}

Status CheckEndpoint(const std::string& endpoint, const std::string& as_given) {
  const size_t colon = endpoint.rfind(':');
  int port = 0;
  if (colon != std::string::npos && colon > 0) {
    const char* first = endpoint.data() + colon + 1;
    const char* last = endpoint.data() + endpoint.size();
    const auto [end, error] = std::from_chars(first, last, port);
    if (error != std::errc() || end != last) port = 0;
  }
  if (port < 1 || port > 65535 || endpoint.find('/') != std::string::npos) {
    return Status(Code::kInvalidArgument, "endpoint '" + as_given + "' is not host:port");
  }
  return Status::Ok();
}

}  // namespace

Clock* Clock::Real() {
  static RealClock clock;
  return &clock;
}

StatusOr<std::vector<std::string>> ParseEndpoints(const std::string& list) {
  std::vector<std::string> out;
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    const std::string as_given = list.substr(start, end - start);
    start = end + 1;
    std::string endpoint = as_given;
    if (endpoint.starts_with("https://")) {
      return Status(Code::kInvalidArgument,
                    "endpoint '" + as_given + "': TLS is not supported; use http://");
    }
    if (endpoint.starts_with("http://")) endpoint.erase(0, 7);
    if (endpoint.ends_with('/')) endpoint.pop_back();
    RAFTKV_RETURN_IF_ERROR(CheckEndpoint(endpoint, as_given));
    out.push_back(endpoint);
  }
  return out;
}

std::string NewClientId() {
  std::random_device device;
  std::string bytes;
  while (bytes.size() < 16) bytes.push_back(static_cast<char>(device()));
  return Hex(bytes);
}

Client::Client(ClientOptions options, Clock* clock)
    : options_([&] {
        if (options.client_id.empty()) options.client_id = NewClientId();
        return std::move(options);
      }()),
      clock_(clock) {}

CallResult Client::Write(const Rpc& rpc) {
  ++sequence_;
  return Call(CallKind::kWrite, options_.endpoints, rpc);
}

CallResult Client::Call(CallKind kind, const std::vector<std::string>& endpoints, const Rpc& rpc) {
  RetryPolicy policy(kind);
  CallResult result;
  const auto deadline = clock_->Now() + options_.command_timeout;
  for (size_t attempt = 0;; ++attempt) {
    result.endpoint = endpoints[attempt % endpoints.size()];
    const auto dial_deadline = std::min(deadline, clock_->Now() + options_.dial_timeout);
    std::string dial_error;
    const auto channel = Dial(result.endpoint, dial_deadline, &dial_error);
    Verdict verdict;
    if (channel == nullptr) {
      verdict = policy.OnNotSent();
      // An answer from another endpoint says more than a connection that was refused.
      if (result.error.empty()) result.error = dial_error;
    } else {
      const auto remaining = duration_cast<milliseconds>(deadline - clock_->Now());
      grpc::ClientContext context;
      context.set_deadline(clock_->Now() + policy.AttemptTimeout(options_.command_timeout,
                                                                 remaining, endpoints.size()));
      if (kind == CallKind::kWrite && !policy.without_session()) {
        context.AddMetadata("raftkv-client", options_.client_id);
        context.AddMetadata("raftkv-sequence", std::to_string(sequence_));
      }
      const grpc::Status status = rpc(channel, &context);
      verdict = policy.OnStatus(status.error_code(), status.error_message());
      result.error = Describe(status);
    }
    const auto backoff = policy.Backoff(endpoints.size());
    if (verdict == Verdict::kRetry && clock_->Now() + backoff >= deadline) {
      verdict = policy.OnDeadline();
    }
    if (verdict != Verdict::kRetry) {
      result.verdict = verdict;
      if (verdict == Verdict::kDone) result.error.clear();
      return result;
    }
    if (backoff > milliseconds(0)) clock_->SleepFor(backoff);
  }
}

CallResult Client::Stream(const std::string& endpoint, const Rpc& rpc) {
  CallResult result;
  result.endpoint = endpoint;
  const auto channel = Dial(endpoint, clock_->Now() + options_.dial_timeout, &result.error);
  if (channel == nullptr) return result;
  grpc::ClientContext context;
  const grpc::Status status = rpc(channel, &context);
  if (status.ok()) {
    result.verdict = Verdict::kDone;
  } else {
    result.error = Describe(status);
  }
  return result;
}

std::shared_ptr<grpc::Channel> Client::Dial(const std::string& endpoint,
                                            system_clock::time_point deadline, std::string* error) {
  auto& channel = channels_[endpoint];
  if (channel == nullptr) channel = NewChannel(endpoint);
  // The channel itself would wait out its reconnect backoff; a refused connection is an answer.
  for (;;) {
    const grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return channel;
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
      *error = "can't connect to " + endpoint;
      break;
    }
    if (!channel->WaitForStateChange(state, deadline)) {
      *error = "no connection to " + endpoint + " within the dial timeout";
      break;
    }
  }
  // A fresh channel next time: this one is in its backoff.
  channels_.erase(endpoint);
  return nullptr;
}

}  // namespace raftkv::tools::ctl
