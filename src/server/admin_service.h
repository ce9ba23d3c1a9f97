// What administrators ask of a node: members, hashes, backups. These calls are rare and may
// take long: each blocks a thread of admin_calls.h until it has its answer. MemberList, which
// clients send often, MoveLeader and Alarm are asynchronous like the rest.
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

class ClusterAdmin {
 public:
  explicit ClusterAdmin(Backend* backend) : backend_(backend) {}

  // Only the leader can say whether a change is safe, so the others ask it.
  grpc::Status MemberAdd(grpc::ServerContext* context,
                         const etcdserverpb::MemberAddRequest* request,
                         etcdserverpb::MemberAddResponse* response);
  grpc::Status MemberRemove(grpc::ServerContext* context,
                            const etcdserverpb::MemberRemoveRequest* request,
                            etcdserverpb::MemberRemoveResponse* response);
  grpc::Status MemberUpdate(grpc::ServerContext* context,
                            const etcdserverpb::MemberUpdateRequest* request,
                            etcdserverpb::MemberUpdateResponse* response);
  grpc::Status MemberPromote(grpc::ServerContext* context,
                             const etcdserverpb::MemberPromoteRequest* request,
                             etcdserverpb::MemberPromoteResponse* response);

 private:
  // Carries out `change` here, or has `forward` done at the leader.
  template <typename Response>
  grpc::Status Change(grpc::ServerContext* context, ConfigChange change,
                      const std::function<grpc::Status(etcdserverpb::Cluster::Stub*,
                                                       grpc::ClientContext*)>& forward,
                      Response* response);

  Backend* const backend_;
};

class MaintenanceAdmin {
 public:
  // Sends a piece of a backup; false when the client has gone away.
  using BackupWriter = std::function<bool(const etcdserverpb::SnapshotResponse&)>;

  MaintenanceAdmin(Backend* backend, AdminHooks hooks)
      : backend_(backend), hooks_(std::move(hooks)) {}

  grpc::Status Defragment(grpc::ServerContext* context,
                          const etcdserverpb::DefragmentRequest* request,
                          etcdserverpb::DefragmentResponse* response);
  grpc::Status Hash(grpc::ServerContext* context, const etcdserverpb::HashRequest* request,
                    etcdserverpb::HashResponse* response);
  grpc::Status HashKV(grpc::ServerContext* context, const etcdserverpb::HashKVRequest* request,
                      etcdserverpb::HashKVResponse* response);
  grpc::Status Snapshot(const BackupWriter& write);

 private:
  Backend* const backend_;
  const AdminHooks hooks_;
};

}  // namespace raftkv::server
