// The client-facing gRPC server: etcd's KV, Cluster and Maintenance services (those methods this
// version has; the rest answer UNIMPLEMENTED), health and reflection.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <thread>
#include <vector>

#include "common/status.h"
#include "rpc.grpc.pb.h"
#include "server/admin_calls.h"
#include "server/backend.h"
#include "server/event_loop.h"
#include "server/health_service.h"
#include "server/options.h"
#include "server/reflection_service.h"

namespace raftkv::server {

class ClientApi {
 public:
  // Binds and serves, on `loop`, which is not started yet; with ServerOptions::client_threads above
  // one, on further threads too. kUnavailable when an address can't be bound, naming it. `backend`
  // and `loop` must outlive it.
  static StatusOr<std::unique_ptr<ClientApi>> Start(const ServerOptions& options, Backend* backend,
                                                    const AdminHooks& hooks, EventLoop* loop);
  ~ClientApi();

  // What grpc.health.v1 answers. Any thread.
  void SetServing(bool serving) { health_.SetServing(serving); }

  // Refuses new calls and waits for those under way until `deadline`, then cancels them; the loop
  // must run. Every call's Finish must come before Join.
  void Shutdown(std::chrono::system_clock::time_point deadline);
  // Ends its threads. Only after everything that may answer a call has stopped.
  void Join();

 private:
  ClientApi(Backend* backend, const AdminHooks& hooks, OpenCalls* open);

  void AcceptOn(grpc::ServerCompletionQueue* queue);
  void AcceptWrites(grpc::ServerCompletionQueue* queue);
  void AcceptReads(grpc::ServerCompletionQueue* queue);
  void AcceptCompact(grpc::ServerCompletionQueue* queue);

  Backend* const backend_;
  OpenCalls* const open_;
  etcdserverpb::KV::AsyncService kv_;
  AdminCalls admin_;
  HealthService health_;
  ReflectionService reflection_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;  // of threads_
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::thread> threads_;
};

}  // namespace raftkv::server
