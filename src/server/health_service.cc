#include "server/health_service.h"

#include <string>
#include <utility>

#include "server/queue_stream.h"
#include "server/unary_call.h"

namespace raftkv::server {
namespace {

using Request = grpc::health::v1::HealthCheckRequest;
using Response = grpc::health::v1::HealthCheckResponse;

}  // namespace

// One client that watches. It is told when it begins and whenever the status changes; of changes
// that come faster than it reads, the last.
class HealthService::Watcher final : public StreamOperations,
                                     public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(HealthService* health, grpc::ServerCompletionQueue* queue)
      : StreamOperations(health->open_), health_(health), queue_(queue) {}

  void Accept() {
    self_ = shared_from_this();
    context_.AsyncNotifyWhenDone(static_cast<Tag*>(&gone_));
    health_->service_.RequestWatch(&context_, &request_, &writer_, queue_, queue_, Begin(&accept_));
  }

  // The client has gone, or this node stops.
  void End() {
    std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) return;
    writer_.Finish(grpc::Status::CANCELLED, BeginLast(&finish_));
  }

  // Says what the status is now, unless it has been said.
  void Tell() {
    const Response::ServingStatus status = health_->StatusOf(request_.service());
    std::lock_guard lock(mutex_);
    wanted_ = status;
    WriteIfDue();
  }

 protected:
  void OnReadDone(bool) override {}

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) wanted_ = told_.status();
    WriteIfDue();
  }

  void OnDone() override {
    const std::shared_ptr<Watcher> self = std::move(self_);
    std::lock_guard lock(health_->mutex_);
    health_->watchers_.erase(self);
  }

 private:
  void OnAccepted(bool ok) {
    if (!ok) {
      NothingFollows();  // nor will gone_ come: there was no call
      return;
    }
    health_->AcceptWatch(queue_);
    Begin(&gone_);
    bool ended = false;
    {
      std::lock_guard lock(health_->mutex_);
      health_->watchers_.insert(self_);
      ended = health_->ended_;
    }
    if (ended) {
      End();
    } else {
      Tell();
    }
  }

  void OnGone(bool) { End(); }

  // Needs mutex_.
  void WriteIfDue() {
    if (writing_ || finished_ || (said_ && wanted_ == told_.status())) return;
    writing_ = said_ = true;
    told_.set_status(wanted_);
    writer_.Write(told_, Begin(&write_));
  }

  HealthService* const health_;
  grpc::ServerCompletionQueue* const queue_;
  std::shared_ptr<Watcher> self_;  // until OnDone
  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncWriter<Response> writer_{&context_};
  Operation accept_{this, static_cast<Operation::Handler>(&Watcher::OnAccepted)};
  Operation gone_{this, static_cast<Operation::Handler>(&Watcher::OnGone)};

  std::mutex mutex_;
  bool writing_ = false;
  bool said_ = false;
  bool finished_ = false;
  Response::ServingStatus wanted_ = Response::UNKNOWN;
  Response told_;
};

void HealthService::Accept(grpc::ServerCompletionQueue* queue) {
  AcceptCheck(queue);
  AcceptWatch(queue);
}

void HealthService::AcceptCheck(grpc::ServerCompletionQueue* queue) {
  using Call = UnaryCall<Request, Response>;
  Call::Start(
      open_,
      [this, queue](auto* context, auto* request, auto* writer, void* tag) {
        service_.RequestCheck(context, request, writer, queue, queue, tag);
      },
      [this](Call* call) {
        Response response;
        response.set_status(StatusOf(call->request().service()));
        if (response.status() == Response::SERVICE_UNKNOWN) {
          call->FinishAs({grpc::StatusCode::NOT_FOUND, "service name unknown"}, {});
        } else {
          call->FinishAs(grpc::Status::OK, response);
        }
      });
}

void HealthService::AcceptWatch(grpc::ServerCompletionQueue* queue) {
  std::make_shared<Watcher>(this, queue)->Accept();
}

Response::ServingStatus HealthService::StatusOf(const std::string& service) const {
  if (!service.empty()) return Response::SERVICE_UNKNOWN;
  std::lock_guard lock(mutex_);
  return serving_ ? Response::SERVING : Response::NOT_SERVING;
}

void HealthService::SetServing(bool serving) {
  std::set<std::shared_ptr<Watcher>> watchers;
  {
    std::lock_guard lock(mutex_);
    serving_ = serving;
    watchers = watchers_;
  }
  for (const auto& watcher : watchers) watcher->Tell();
}

void HealthService::End() {
  std::set<std::shared_ptr<Watcher>> watchers;
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
    watchers = watchers_;
  }
  for (const auto& watcher : watchers) watcher->End();
}

}  // namespace raftkv::server
