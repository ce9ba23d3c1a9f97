// grpc.reflection.v1alpha: what the client port offers, for grpcurl and the like. gRPC's own
// service is synchronous: it would wait for the network on a thread of its own, which event_loop.h
// is to avoid.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <utility>
#include <vector>

#include "reflection.grpc.pb.h"
#include "server/event_loop.h"

namespace raftkv::server {

// Thread-safe.
class ReflectionService {
 public:
  // `services`: the full names of those to list. `open` must outlive it.
  ReflectionService(std::vector<std::string> services, OpenCalls* open)
      : services_(std::move(services)), open_(open) {}

  grpc::Service* service() { return &service_; }
  // Begins to take calls, once the server was started; `queue` is the server's.
  void Accept(grpc::ServerCompletionQueue* queue);

  // The answer to one request, by the descriptors that are linked into this program.
  grpc::reflection::v1alpha::ServerReflectionResponse Answer(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) const;

 private:
  class Stream;

  const std::vector<std::string> services_;
  OpenCalls* const open_;
  grpc::reflection::v1alpha::ServerReflection::AsyncService service_;
};

}  // namespace raftkv::server
