// grpc.health.v1: whether this node serves. gRPC's own service would wait for the network on a
// thread of its own, which event_loop.h is to avoid.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <set>

#include "health.grpc.pb.h"
#include "server/event_loop.h"

namespace raftkv::server {

class HealthService {
 public:
  // `open` must outlive it.
  explicit HealthService(OpenCalls* open) : open_(open) {}
  HealthService(const HealthService&) = delete;
  HealthService& operator=(const HealthService&) = delete;

  grpc::Service* service() { return &service_; }
  // Begins to take calls, once the server was started; `queue` is the server's.
  void Accept(grpc::ServerCompletionQueue* queue);

  // What is answered, and told those who watch. Any thread. Until the first time: not serving.
  void SetServing(bool serving);

  // Ends all watches, which have no end of their own; before the server is shut down, which would
  // wait for them.
  void End();

 private:
  class Watcher;

  void AcceptCheck(grpc::ServerCompletionQueue* queue);
  void AcceptWatch(grpc::ServerCompletionQueue* queue);
  // What Watch says of `service`.
  grpc::health::v1::HealthCheckResponse::ServingStatus StatusOf(const std::string& service) const;

  grpc::health::v1::Health::AsyncService service_;
  OpenCalls* const open_;
  mutable std::mutex mutex_;
  bool serving_ = false;
  bool ended_ = false;
  std::set<std::shared_ptr<Watcher>> watchers_;
};

}  // namespace raftkv::server
