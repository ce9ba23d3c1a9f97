// The calls of etcd's Cluster and Maintenance services. Those that may take long run on threads of
// their own, which are no gRPC threads: none of them waits for the network (event_loop.h).
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "rpc.grpc.pb.h"
#include "server/admin_service.h"
#include "server/backend.h"
#include "server/reader_pool.h"

namespace raftkv::server {

// How many of something may be under way at once.
class Bound {
 public:
  explicit Bound(int max) : max_(max) {}

  // False, and there is nothing to leave, when so many are.
  bool Enter() {
    if (count_.fetch_add(1) < max_) return true;
    Leave();
    return false;
  }
  void Leave() { count_.fetch_sub(1); }

 private:
  const int max_;
  std::atomic<int> count_{0};
};

class AdminCalls {
 public:
  // `backend` and `open` must outlive it.
  AdminCalls(Backend* backend, const AdminHooks& hooks, OpenCalls* open);

  void Register(grpc::ServerBuilder* builder);
  // Begins to take calls, once the server was started; `queue` is the server's.
  void Accept(grpc::ServerCompletionQueue* queue);
  // Waits for the calls under way; what they wait for must end by itself. Idempotent.
  void Stop() { threads_.Stop(); }

 private:
  class BackupCall;

  void AcceptCluster(grpc::ServerCompletionQueue* queue);
  void AcceptMaintenance(grpc::ServerCompletionQueue* queue);
  void AcceptBackup(grpc::ServerCompletionQueue* queue);
  void AcceptOthers(grpc::ServerCompletionQueue* queue);

  Backend* const backend_;
  OpenCalls* const open_;
  Bound backups_;
  Bound defragmentations_;  // calls that wait for one
  ClusterAdmin cluster_admin_;
  MaintenanceAdmin maintenance_admin_;
  etcdserverpb::Cluster::AsyncService cluster_;
  etcdserverpb::Maintenance::AsyncService maintenance_;
  ReaderPool threads_;
};

}  // namespace raftkv::server
