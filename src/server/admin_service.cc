#include "server/admin_service.h"

#include <spdlog/spdlog.h>

#include <future>
#include <memory>
#include <utility>

#include "server/rpc_status.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// Marks a request that another node sent on: it is not sent on again.
constexpr char kForwardedMeta[] = "raftkv-forwarded";

grpc::Status Answer(grpc::ServerContext* context, const Status& status) {
  if (!status.ok()) context->AddTrailingMetadata(kOutcomeMeta, OutcomeOf(status));
  return ToGrpc(status);
}

// Waits for the one answer of an asynchronous call, which comes in any case: the raft loop bounds
// how long a request may take.
template <typename Response>
Status Await(const std::function<void(Done<Response>)>& start, Response* response) {
  auto promise = std::make_shared<std::promise<std::pair<Status, Response>>>();
  std::future<std::pair<Status, Response>> future = promise->get_future();
  start([promise](Status status, Response&& answer) {
    promise->set_value({std::move(status), std::move(answer)});
  });
  auto [status, answer] = future.get();
  *response = std::move(answer);
  return status;
}

std::string LeaderClientUrl(Backend* backend) {
  const NodeId leader = backend->raft_loop()->status().leader;
  for (const etcdserverpb::Member& member : backend->store()->Members()) {
    if (member.id() == leader.value() && member.clienturls_size() > 0) return member.clienturls(0);
  }
  return "";
}

std::vector<std::string> PeerUrls(const google::protobuf::RepeatedPtrField<std::string>& urls) {
  return {urls.begin(), urls.end()};
}

}  // namespace

template <typename Response>
grpc::Status ClusterAdmin::Change(
    grpc::ServerContext* context, ConfigChange change,
    const std::function<grpc::Status(etcdserverpb::Cluster::Stub*, grpc::ClientContext*)>& forward,
    Response* response) {
  if (!backend_->raft_loop()->votes()) return Answer(context, ErrLearnerUnsupported());
  auto promise = std::make_shared<std::promise<StatusOr<Membership>>>();
  std::future<StatusOr<Membership>> future = promise->get_future();
  backend_->raft_loop()->ChangeMembers(std::move(change), [promise](StatusOr<Membership> result) {
    promise->set_value(std::move(result));
  });
  const StatusOr<Membership> result = future.get();
  if (result.ok()) {
    backend_->FillHeader(response->mutable_header());
    response->mutable_header()->set_revision(backend_->store()->revision());
    for (etcdserverpb::Member& member : backend_->Describe(*result)) {
      *response->add_members() = std::move(member);
    }
    return grpc::Status::OK;
  }
  if (result.status().message() != store::ErrNotLeader().message() ||
      context->client_metadata().contains(kForwardedMeta)) {
    return Answer(context, result.status());
  }
  const StatusOr<Url> url = ParseUrl(LeaderClientUrl(backend_));
  if (!url.ok()) return Answer(context, store::ErrNoLeader());
  grpc::ClientContext call;
  call.AddMetadata(kForwardedMeta, "1");
  call.set_deadline(std::chrono::system_clock::now() +
                    std::chrono::milliseconds(backend_->options().RequestTimeoutMs()));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto stub = etcdserverpb::Cluster::NewStub(
      grpc::CreateCustomChannel(url->HostPort(), grpc::InsecureChannelCredentials(), arguments));
  return forward(stub.get(), &call);
}

grpc::Status ClusterAdmin::MemberAdd(grpc::ServerContext* context,
                                     const etcdserverpb::MemberAddRequest* request,
                                     etcdserverpb::MemberAddResponse* response) {
  const std::vector<std::string> urls = PeerUrls(request->peerurls());
  const NodeId id = NewMemberId(backend_->options().cluster_id, urls,
                                std::chrono::system_clock::now().time_since_epoch().count());
  const grpc::Status status = Change(
      context,
      [=, learner = request->islearner(), max = backend_->options().max_learners](
          const ClusterView& view) { return AddMember(view, id, urls, learner, max); },
      [&](etcdserverpb::Cluster::Stub* leader, grpc::ClientContext* call) {
        return leader->MemberAdd(call, *request, response);
      },
      response);
  for (const etcdserverpb::Member& member : response->members()) {
    if (status.ok() && member.id() == id.value()) *response->mutable_member() = member;
  }
  return status;
}

grpc::Status ClusterAdmin::MemberRemove(grpc::ServerContext* context,
                                        const etcdserverpb::MemberRemoveRequest* request,
                                        etcdserverpb::MemberRemoveResponse* response) {
  return Change(
      context,
      [id = NodeId(request->id())](const ClusterView& view) { return RemoveMember(view, id); },
      [&](etcdserverpb::Cluster::Stub* leader, grpc::ClientContext* call) {
        return leader->MemberRemove(call, *request, response);
      },
      response);
}

grpc::Status ClusterAdmin::MemberUpdate(grpc::ServerContext* context,
                                        const etcdserverpb::MemberUpdateRequest* request,
                                        etcdserverpb::MemberUpdateResponse* response) {
  return Change(
      context,
      [id = NodeId(request->id()), urls = PeerUrls(request->peerurls())](const ClusterView& view) {
        return UpdateMember(view, id, urls);
      },
      [&](etcdserverpb::Cluster::Stub* leader, grpc::ClientContext* call) {
        return leader->MemberUpdate(call, *request, response);
      },
      response);
}

grpc::Status ClusterAdmin::MemberPromote(grpc::ServerContext* context,
                                         const etcdserverpb::MemberPromoteRequest* request,
                                         etcdserverpb::MemberPromoteResponse* response) {
  return Change(
      context,
      [id = NodeId(request->id())](const ClusterView& view) { return PromoteMember(view, id); },
      [&](etcdserverpb::Cluster::Stub* leader, grpc::ClientContext* call) {
        return leader->MemberPromote(call, *request, response);
      },
      response);
}

// Ends when the work has: clients take the answer for its end. The work outlives a client whose
// deadline passes.
grpc::Status MaintenanceAdmin::Defragment(grpc::ServerContext* context,
                                          const etcdserverpb::DefragmentRequest* /*request*/,
                                          etcdserverpb::DefragmentResponse* response) {
  const raftkv::Status status = hooks_.defragment(
      [context] { return std::chrono::system_clock::now() > context->deadline(); });
  if (!status.ok()) spdlog::warn("defragmentation: {}", status.message());
  backend_->FillHeader(response->mutable_header());
  return ToGrpc(status);
}

grpc::Status MaintenanceAdmin::Hash(grpc::ServerContext* context,
                                    const etcdserverpb::HashRequest* /*request*/,
                                    etcdserverpb::HashResponse* response) {
  store::KvStore::Hash hash;
  const raftkv::Status status = Await<store::KvStore::Hash>(
      [&](Done<store::KvStore::Hash> done) { backend_->HashKv(0, std::move(done)); }, &hash);
  backend_->FillHeader(response->mutable_header());
  response->mutable_header()->set_revision(hash.revision);
  response->set_hash(hash.hash);
  return Answer(context, status);
}

grpc::Status MaintenanceAdmin::HashKV(grpc::ServerContext* context,
                                      const etcdserverpb::HashKVRequest* request,
                                      etcdserverpb::HashKVResponse* response) {
  store::KvStore::Hash hash;
  const raftkv::Status status = Await<store::KvStore::Hash>(
      [&](Done<store::KvStore::Hash> done) {
        backend_->HashKv(request->revision(), std::move(done));
      },
      &hash);
  backend_->FillHeader(response->mutable_header());
  response->mutable_header()->set_revision(backend_->store()->revision());
  response->set_hash(hash.hash);
  response->set_compact_revision(hash.compact_revision);
  return Answer(context, status);
}

grpc::Status MaintenanceAdmin::Snapshot(const BackupWriter& write) {
  const raftkv::Status status = hooks_.backup([&](std::string_view piece) -> raftkv::Status {
    // gRPC's and its clients' messages are limited to 4 MiB.
    constexpr size_t kPieceMax = 64 << 10;
    for (size_t at = 0; at < piece.size(); at += kPieceMax) {
      etcdserverpb::SnapshotResponse response;
      response.set_blob(std::string(piece.substr(at, kPieceMax)));
      if (!write(response)) {
        return {Code::kCancelled, "the client has gone away"};
      }
    }
    return raftkv::Status::Ok();
  });
  if (!status.ok()) spdlog::warn("a backup was not finished: {}", status.message());
  return ToGrpc(status);
}

}  // namespace raftkv::server
