#include "server/peer_service.h"

#include <spdlog/spdlog.h>

#include <charconv>
#include <string>
#include <utility>

#include "server/peer_channel.h"
#include "server/queue_stream.h"
#include "server/rpc_status.h"
#include "server/server_ports.h"
#include "server/snapshot_receiver.h"
#include "server/unary_call.h"

namespace raftkv::server {
namespace {

// The text under `key`, or empty.
std::string MetadataText(const grpc::ServerContextBase& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  return it == metadata.end() ? "" : std::string(it->second.data(), it->second.size());
}

// The number under `key`, or 0.
uint64_t MetadataNumber(const grpc::ServerContextBase& context, const char* key) {
  const std::string text = MetadataText(context, key);
  uint64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  return error == std::errc() && end == last ? value : 0;
}

grpc::Status Refusal(const std::string& why) {
  return {grpc::StatusCode::FAILED_PRECONDITION, why};
}

grpc::Status CheckVersion(const grpc::ServerContextBase& context) {
  if (MetadataText(context, kPeerMetaVersion) == kPeerProtocolVersion) return grpc::Status::OK;
  return Refusal("peer protocol version is not " + std::string(kPeerProtocolVersion) +
                 "; run the same raftkv version on all members");
}

peer::v1::MembersResponse Describe(const JoinedCluster& cluster) {
  peer::v1::MembersResponse response;
  response.set_cluster(cluster.cluster.value());
  response.set_from(cluster.self.value());
  response.set_leader(cluster.leader.value());
  for (const ClusterMember& member : cluster.members) {
    auto* out = response.add_members();
    out->set_id(member.id.value());
    out->set_name(member.name);
    for (const std::string& url : member.peer_urls) out->add_peer_urls(url);
    out->set_learner(member.learner);
    out->set_removed(member.removed);
  }
  return response;
}

}  // namespace

// Reads one stream to its end. SetMembers may end it from another thread at any time: whoever sets
// finished_ is the one to call Finish.
class PeerService::Reader final : public ServerStream<peer::v1::FrameBatch, peer::v1::Accepted>,
                                  public std::enable_shared_from_this<Reader> {
 public:
  Reader(PeerService* service, OpenCalls* open) : ServerStream(open), service_(service) {}

  NodeId from() const { return from_; }
  void set_from(NodeId from) { from_ = from; }
  // Keeps itself until OnDone.
  void Keep() { self_ = shared_from_this(); }

  void End(const grpc::Status& status) {
    {
      std::lock_guard lock(mutex_);
      if (std::exchange(finished_, true)) return;
    }
    Finish(status);
  }

 protected:
  void OnCalled() override {
    service_->AcceptStream();
    if (const grpc::Status status = service_->TakeStream(self_); !status.ok()) {
      End(status);
      return;
    }
    std::lock_guard lock(mutex_);
    if (finished_) return;  // by SetMembers, since it was taken
    StartWrite(&accepted_);
    StartRead(&batch_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      End(grpc::Status::OK);
      return;
    }
    {
      std::lock_guard lock(mutex_);
      if (finished_) return;  // what a removed member says is not heard
    }
    service_->handlers_.on_batch(from_, std::move(batch_));
    batch_.Clear();
    std::lock_guard lock(mutex_);
    if (!finished_) StartRead(&batch_);
  }

  void OnWriteDone(bool) override {}

  void OnDone() override {
    const std::shared_ptr<Reader> self = std::move(self_);
    service_->Forget(this);
  }

 private:
  PeerService* const service_;
  NodeId from_;
  std::shared_ptr<Reader> self_;
  const peer::v1::Accepted accepted_;
  peer::v1::FrameBatch batch_;
  std::mutex mutex_;
  bool finished_ = false;
};

PeerService::PeerService(ClusterId cluster, NodeId self, PeerHandlers handlers)
    : cluster_(cluster), self_(self), handlers_(std::move(handlers)) {}

PeerService::~PeerService() { Shutdown(); }

Status PeerService::Listen(const std::vector<Url>& urls, EventLoop* loop, std::vector<int>* ports) {
  grpc::ServerBuilder builder;
  SetServerArguments(&builder);
  builder.SetMaxReceiveMessageSize(-1);
  std::vector<int> bound;
  AddPorts(&builder, urls, &bound);
  builder.RegisterService(&service_);
  calls_ = loop->AddServer(&builder, EventLoop::NewCalls::kEventually);
  server_ = builder.BuildAndStart();
  if (ports != nullptr) *ports = bound;
  RAFTKV_RETURN_IF_ERROR(CheckPorts(urls, bound));
  if (server_ == nullptr) return {Code::kInternal, "can't start the peer server"};
  loop_ = loop;
  return Status::Ok();
}

void PeerService::Accept() {
  AcceptStream();
  AcceptSnapshot();
  AcceptMembers();
  AcceptHashKv();
}

void PeerService::Shutdown() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

void PeerService::SetMembers(const Membership& committed) {
  std::vector<std::shared_ptr<Reader>> refused;
  if (handlers_.snapshots != nullptr) handlers_.snapshots->SetRemoved(committed.removed);
  {
    std::lock_guard lock(mutex_);
    removed_ = committed.removed;
    for (const auto& reader : readers_) {
      if (removed_.contains(reader->from())) refused.push_back(reader);
    }
  }
  for (const auto& reader : refused) {
    spdlog::info("ended the stream of a member that was removed from={:x}", reader->from().value());
    reader->End(RemovedRefusal(reader->from()));
  }
}

void PeerService::Forget(const Reader* reader) {
  std::lock_guard lock(mutex_);
  std::erase_if(readers_, [reader](const auto& open) { return open.get() == reader; });
}

grpc::Status PeerService::FindFault(const grpc::ServerContextBase& context, NodeId* from) const {
  if (const grpc::Status version = CheckVersion(context); !version.ok()) return version;
  if (MetadataNumber(context, kPeerMetaCluster) != cluster_.value()) {
    return Refusal("cluster id mismatch; check --initial-cluster and --initial-cluster-token");
  }
  // Before the addressee: a removed member's idea of who is where may be old.
  *from = NodeId(MetadataNumber(context, kPeerMetaFrom));
  {
    std::lock_guard lock(mutex_);
    if (removed_.contains(*from)) return RemovedRefusal(*from);
  }
  if (MetadataNumber(context, kPeerMetaTo) != self_.value()) {
    return Refusal("this is another node; check the peer URLs in --initial-cluster");
  }
  if (*from == self_ || from->none()) return Refusal("the sender does not say who it is");
  return grpc::Status::OK;
}

grpc::Status PeerService::CheckMetadata(const grpc::ServerContextBase& context,
                                        NodeId* from) const {
  grpc::Status fault = FindFault(context, from);
  if (!fault.ok()) {
    spdlog::warn("refused a peer call from={} reason=\"{}\"", context.peer(),
                 fault.error_message());
  }
  return fault;
}

// --- Calls --------------------------------------------------------------------------------------

void PeerService::AcceptStream() {
  auto reader = std::make_shared<Reader>(this, loop_->open());
  reader->Keep();
  reader->Accept([this](auto* context, auto* stream, void* tag) {
    service_.RequestStream(context, stream, loop_->queue(), calls_, tag);
  });
}

grpc::Status PeerService::TakeStream(const std::shared_ptr<Reader>& reader) {
  NodeId from;
  const grpc::ServerContext& context = reader->context();
  if (grpc::Status fault = CheckMetadata(context, &from); !fault.ok()) return fault;
  const std::string url = MetadataText(context, kPeerMetaFromUrl);
  if (handlers_.on_contact && !url.empty()) handlers_.on_contact(from, url);
  reader->set_from(from);
  std::lock_guard lock(mutex_);
  // It may have been removed since it was checked, and SetMembers looks only once.
  if (removed_.contains(from)) return RemovedRefusal(from);
  readers_.insert(reader);
  return grpc::Status::OK;
}

void PeerService::AcceptSnapshot() {
  SnapshotReceiver::Admit admit = [this](const grpc::ServerContextBase& context, NodeId* from) {
    AcceptSnapshot();
    return CheckMetadata(context, from);
  };
  SnapshotReceiver::Expect(handlers_.snapshots, loop_->open(), std::move(admit),
                           [this](auto* context, auto* stream, void* tag) {
                             service_.RequestSnapshot(context, stream, loop_->queue(), calls_, tag);
                           });
}

void PeerService::AcceptMembers() {
  using Call = UnaryCall<peer::v1::MembersRequest, peer::v1::MembersResponse>;
  Call::Start(
      loop_->open(),
      [this](auto* context, auto* request, auto* writer, void* tag) {
        service_.RequestMembers(context, request, writer, loop_->queue(), calls_, tag);
      },
      [this](Call* call) {
        grpc::Status status = CheckVersion(call->context());
        if (status.ok() && !handlers_.members) {
          status = {grpc::StatusCode::UNIMPLEMENTED, "this node does not list members"};
        }
        if (!status.ok()) {
          call->FinishAs(status, {});
          return;
        }
        handlers_.members([call](const JoinedCluster& cluster) {
          call->FinishAs(grpc::Status::OK, Describe(cluster));
        });
      });
}

void PeerService::AcceptHashKv() {
  using Call = UnaryCall<peer::v1::HashKvRequest, peer::v1::HashKvResponse>;
  Call::Start(
      loop_->open(),
      [this](auto* context, auto* request, auto* writer, void* tag) {
        service_.RequestHashKv(context, request, writer, loop_->queue(), calls_, tag);
      },
      [this](Call* call) {
        NodeId from;
        grpc::Status fault = CheckMetadata(call->context(), &from);
        if (fault.ok() && !handlers_.hash_kv) {
          fault = {grpc::StatusCode::UNIMPLEMENTED, "this node does not hash its state"};
        }
        if (!fault.ok()) {
          call->FinishAs(fault, {});
          return;
        }
        handlers_.hash_kv(call->request().revision(), [call](StatusOr<HashKvAnswer> answer) {
          peer::v1::HashKvResponse response;
          if (answer.ok()) {
            response.set_hash(answer->hash);
            response.set_revision(answer->revision);
            response.set_compact_revision(answer->compact_revision);
            response.set_applied_index(answer->applied.value());
          }
          call->FinishAs(ToGrpc(answer.status()), response);
        });
      });
}

}  // namespace raftkv::server
