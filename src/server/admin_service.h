// What administrators ask of a node: members, alarms, hashes, backups. These calls are rare and may
// take long, so they are served synchronously, on gRPC's own threads; those that clients send often
// (MemberList, Status) and MoveLeader are asynchronous like the rest (client_api.cc).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <grpcpp/grpcpp.h>

#include "common/status.h"
#include "rpc.grpc.pb.h"
#include "server/backend.h"

namespace raftkv::server {

// What these calls need of the node besides the backend.
struct AdminHooks {
  // Defragmenter::Run.
  std::function<Status(const std::function<bool()>& give_up)> defragment;
  // Writes a backup to `write`, piece by piece, until that fails.
  std::function<Status(const std::function<Status(std::string_view)>& write)> backup;
};

class ClusterService final
    : public etcdserverpb::Cluster::WithAsyncMethod_MemberList<etcdserverpb::Cluster::Service> {
 public:
  explicit ClusterService(Backend* backend) : backend_(backend) {}

  // Only the leader can say whether a change is safe, so the others ask it.
  grpc::Status MemberAdd(grpc::ServerContext* context,
                         const etcdserverpb::MemberAddRequest* request,
                         etcdserverpb::MemberAddResponse* response) override;
  grpc::Status MemberRemove(grpc::ServerContext* context,
                            const etcdserverpb::MemberRemoveRequest* request,
                            etcdserverpb::MemberRemoveResponse* response) override;
  grpc::Status MemberUpdate(grpc::ServerContext* context,
                            const etcdserverpb::MemberUpdateRequest* request,
                            etcdserverpb::MemberUpdateResponse* response) override;
  grpc::Status MemberPromote(grpc::ServerContext* context,
                             const etcdserverpb::MemberPromoteRequest* request,
                             etcdserverpb::MemberPromoteResponse* response) override;

 private:
  // Carries out `change` here, or has `forward` done at the leader.
  template <typename Response>
  grpc::Status Change(grpc::ServerContext* context, ConfigChange change,
                      const std::function<grpc::Status(etcdserverpb::Cluster::Stub*,
                                                       grpc::ClientContext*)>& forward,
                      Response* response);

  Backend* const backend_;
};

class MaintenanceService final : public etcdserverpb::Maintenance::WithAsyncMethod_Status<
                                     etcdserverpb::Maintenance::WithAsyncMethod_MoveLeader<
                                         etcdserverpb::Maintenance::Service>> {
 public:
  MaintenanceService(Backend* backend, AdminHooks hooks)
      : backend_(backend), hooks_(std::move(hooks)) {}

  grpc::Status Alarm(grpc::ServerContext* context, const etcdserverpb::AlarmRequest* request,
                     etcdserverpb::AlarmResponse* response) override;
  grpc::Status Defragment(grpc::ServerContext* context,
                          const etcdserverpb::DefragmentRequest* request,
                          etcdserverpb::DefragmentResponse* response) override;
  grpc::Status Hash(grpc::ServerContext* context, const etcdserverpb::HashRequest* request,
                    etcdserverpb::HashResponse* response) override;
  grpc::Status HashKV(grpc::ServerContext* context, const etcdserverpb::HashKVRequest* request,
                      etcdserverpb::HashKVResponse* response) override;
  grpc::Status Snapshot(grpc::ServerContext* context, const etcdserverpb::SnapshotRequest* request,
                        grpc::ServerWriter<etcdserverpb::SnapshotResponse>* writer) override;

 private:
  Backend* const backend_;
  const AdminHooks hooks_;
};

}  // namespace raftkv::server
