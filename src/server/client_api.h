// The client-facing gRPC server: etcd's KV, Cluster and Maintenance services (those methods this
// version has; the rest answer UNIMPLEMENTED), health and reflection.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <thread>
#include <vector>

#include "common/status.h"
#include "rpc.grpc.pb.h"
#include "server/admin_service.h"
#include "server/backend.h"
#include "server/options.h"

namespace raftkv::server {

class ClientApi {
 public:
  // Binds and serves. kUnavailable when an address can't be bound, naming it. `backend` must
  // outlive it.
  static StatusOr<std::unique_ptr<ClientApi>> Start(const ServerOptions& options, Backend* backend,
                                                    const AdminHooks& hooks);
  ~ClientApi();

  // What grpc.health.v1 answers. Any thread.
  void SetServing(bool serving);

  // Refuses new calls and waits for those under way until `deadline`, then cancels them. Every
  // call's Finish must come before Join.
  void Shutdown(std::chrono::system_clock::time_point deadline);
  // Ends the threads. Only after everything that may answer a call has stopped.
  void Join();

 private:
  using KvService = etcdserverpb::KV::AsyncService;

  ClientApi(Backend* backend, const AdminHooks& hooks)
      : backend_(backend), cluster_(backend), maintenance_(backend, hooks) {}

  void AcceptOn(grpc::ServerCompletionQueue* queue);
  void AcceptWrites(grpc::ServerCompletionQueue* queue);
  void AcceptReads(grpc::ServerCompletionQueue* queue);
  void AcceptAdmin(grpc::ServerCompletionQueue* queue);

  Backend* const backend_;
  KvService kv_;
  ClusterService cluster_;
  MaintenanceService maintenance_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::thread> threads_;
};

// Channel arguments every server of this process shares: no port sharing (a second process must be
// refused, not given half of the connections), and pings as often as etcd's clients send them.
void SetServerArguments(grpc::ServerBuilder* builder);

// Adds the listening ports; after BuildAndStart each element of `bound` is 0 where that failed.
void AddPorts(grpc::ServerBuilder* builder, const std::vector<Url>& urls, std::vector<int>* bound);
// kUnavailable, naming the first address that was not bound.
Status CheckPorts(const std::vector<Url>& urls, const std::vector<int>& bound);

}  // namespace raftkv::server
