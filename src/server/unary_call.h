// One unary method of a completion-queue gRPC server, from "ready to accept" to "answered".
//
// The completion-queue API takes about two thirds of the CPU of the callback API for small calls
// (DESIGN section 6), and lets any thread send the answer: a put is answered straight from apply.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <utility>

#include "common/status.h"
#include "server/event_loop.h"
#include "server/rpc_status.h"

namespace raftkv::server {

// Owns itself: deleted on the queue's thread once answered, or when the server shuts down before a
// request came.
template <typename Request, typename Response>
class UnaryCall final : public Tag {
 public:
  // Asks gRPC for the next request of the method.
  using Accept = std::function<void(grpc::ServerContext*, Request*,
                                    grpc::ServerAsyncResponseWriter<Response>*, void* tag)>;
  // Serves one; must see to it that Finish is called exactly once, by any thread.
  using Handler = std::function<void(UnaryCall*)>;

  static void Start(OpenCalls* open, const Accept& accept, const Handler& handler) {
    auto* call = new UnaryCall(open, accept, handler);
    call->Given();
    accept(&call->context_, &call->request_, &call->writer_, call);
  }

  void Proceed(bool ok) override {
    if (serving_ || !ok) {
      delete this;
      return;
    }
    serving_ = true;
    Start(open_, accept_, handler_);
    handler_(this);
  }

  grpc::ServerContext& context() { return context_; }
  Request& request() { return request_; }

  // The call must not be touched afterwards.
  void Finish(const Status& status, const Response& response) {
    Given();
    if (status.ok()) {
      writer_.Finish(response, grpc::Status::OK, this);
      return;
    }
    context_.AddTrailingMetadata(kOutcomeMeta, OutcomeOf(status));
    writer_.FinishWithError(ToGrpc(status), this);
  }

  // As above, for a status that is gRPC's already.
  void FinishAs(const grpc::Status& status, const Response& response) {
    Given();
    if (status.ok()) {
      writer_.Finish(response, status, this);
    } else {
      writer_.FinishWithError(status, this);
    }
  }

 private:
  UnaryCall(OpenCalls* open, const Accept& accept, const Handler& handler)
      : open_(open), accept_(accept), handler_(handler), writer_(&context_) {
    open_->Add();
  }
  ~UnaryCall() override { open_->Remove(); }

  OpenCalls* const open_;
  const Accept accept_;
  const Handler handler_;
  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncResponseWriter<Response> writer_;
  bool serving_ = false;
};

}  // namespace raftkv::server
