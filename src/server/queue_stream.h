// Streams on a completion queue, with callbacks in the manner of gRPC's reactors: at most one read
// and one write under way; the last callback is OnDone, when nothing is under way any more. gRPC's
// own reactors bring threads of their own to wait for the network, which event_loop.h is to avoid.
//
// Operations may be started on any thread, callbacks come on the queue's.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <utility>

#include "server/event_loop.h"

namespace raftkv::server {

// The operations of one stream that are under way, and the tags they are known by.
class StreamOperations {
 public:
  virtual ~StreamOperations() = default;

 protected:
  explicit StreamOperations(OpenCalls* open) : open_(open) { open_->Add(); }
  StreamOperations(const StreamOperations&) = delete;
  StreamOperations& operator=(const StreamOperations&) = delete;

  virtual void OnReadDone(bool ok) = 0;
  virtual void OnWriteDone(bool ok) = 0;
  // The last callback: the stream may be destroyed in it.
  virtual void OnDone() = 0;

  class Operation final : public Tag {
   public:
    using Handler = void (StreamOperations::*)(bool ok);
    Operation(StreamOperations* stream, Handler handler) : stream_(stream), handler_(handler) {}
    void Proceed(bool ok) override {
      (stream_->*handler_)(ok);
      stream_->Ended();
    }

   private:
    StreamOperations* const stream_;
    const Handler handler_;
  };

  // Before an operation is started; gives back its tag.
  Tag* Begin(Operation* operation) {
    under_way_.fetch_add(1);
    operation->Given();
    return operation;
  }
  // As Begin, for the operation that ends the stream. OnDone comes after it.
  Tag* BeginLast(Operation* operation) {
    Begin(operation);
    NothingFollows();
    operation->Given();
    return operation;
  }
  // Instead of a last operation, in a callback: OnDone comes after it.
  void NothingFollows() { last_begun_.store(true); }
  void Nothing(bool /*ok*/) {}

  Operation read_{this, &StreamOperations::OnReadDone};
  Operation write_{this, &StreamOperations::OnWriteDone};
  Operation finish_{this, &StreamOperations::Nothing};

 private:
  void Ended() {
    // In this order: the last operation counts before it is known to be the last.
    if (under_way_.fetch_sub(1) != 1 || !last_begun_.load()) return;
    OpenCalls* const open = open_;
    OnDone();
    open->Remove();
  }

  OpenCalls* const open_;
  std::atomic<int> under_way_{0};
  std::atomic<bool> last_begun_{false};
};

// The server's end of a bidirectional stream.
template <typename Request, typename Response>
class ServerStream : public StreamOperations {
 public:
  explicit ServerStream(OpenCalls* open) : StreamOperations(open) {}

  // Waits for a call: `request` is the generated Request<Method>, bound to its queues. OnCalled, or
  // OnDone alone when the server was shut down before.
  template <typename RequestMethod>
  void Accept(const RequestMethod& request) {
    request(&context_, &stream_, static_cast<void*>(Begin(&accept_)));
  }

  grpc::ServerContext& context() { return context_; }

  void StartRead(Request* request) { stream_.Read(request, Begin(&read_)); }
  void StartWrite(const Response* response) { stream_.Write(*response, Begin(&write_)); }
  // OnDone follows, without OnWriteDone.
  void StartWriteAndFinish(const Response* response, const grpc::Status& status) {
    stream_.WriteAndFinish(*response, grpc::WriteOptions(), status, BeginLast(&finish_));
  }
  void Finish(const grpc::Status& status) { stream_.Finish(status, BeginLast(&finish_)); }

 protected:
  virtual void OnCalled() = 0;

 private:
  void OnAccepted(bool ok) {
    if (ok) {
      OnCalled();
    } else {
      NothingFollows();
    }
  }

  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<Response, Request> stream_{&context_};
  Operation accept_{this, static_cast<Operation::Handler>(&ServerStream::OnAccepted)};
};

// The client's end.
template <typename Request, typename Response>
class ClientStream : public StreamOperations {
 public:
  using Call = std::unique_ptr<grpc::ClientAsyncReaderWriter<Request, Response>>;

  explicit ClientStream(OpenCalls* open) : StreamOperations(open) {}

  grpc::ClientContext& context() { return context_; }

  // `call`: of the generated PrepareAsync<Method>. Nothing may be read or written before OnStarted.
  void StartCall(Call call) {
    stream_ = std::move(call);
    stream_->StartCall(Begin(&start_));
  }
  void StartRead(Response* response) { stream_->Read(response, Begin(&read_)); }
  void StartWrite(const Request* request) { stream_->Write(*request, Begin(&write_)); }
  // Asks for the status, which is there in OnDone. Once, and nothing may be started afterwards.
  void Finish() { stream_->Finish(&status_, BeginLast(&finish_)); }

 protected:
  virtual void OnStarted(bool ok) = 0;
  const grpc::Status& status() const { return status_; }

 private:
  grpc::ClientContext context_;
  grpc::Status status_;
  Call stream_;
  Operation start_{this, static_cast<Operation::Handler>(&ClientStream::OnStarted)};
};

}  // namespace raftkv::server
