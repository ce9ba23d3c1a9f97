#include "server/peer_service.h"

#include <spdlog/spdlog.h>

#include <charconv>
#include <string>
#include <utility>

#include "server/peer_channel.h"
#include "server/rpc_status.h"
#include "server/snapshot_receiver.h"

namespace raftkv::server {
namespace {

// The text under `key`, or empty.
std::string MetadataText(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  return it == metadata.end() ? "" : std::string(it->second.data(), it->second.size());
}

// The number under `key`, or 0.
uint64_t MetadataNumber(const grpc::CallbackServerContext& context, const char* key) {
  const std::string text = MetadataText(context, key);
  uint64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  return error == std::errc() && end == last ? value : 0;
}

grpc::Status Refusal(const std::string& why) {
  return {grpc::StatusCode::FAILED_PRECONDITION, why};
}

grpc::Status CheckVersion(const grpc::CallbackServerContext& context) {
  if (MetadataText(context, kPeerMetaVersion) == kPeerProtocolVersion) return grpc::Status::OK;
  return Refusal("peer protocol version is not " + std::string(kPeerProtocolVersion) +
                 "; run the same raftkv version on all members");
}

// Ends a stream at once.
template <typename Request, typename Response>
class RefusingReactor final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit RefusingReactor(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

// Reads one stream to its end. gRPC calls back on its own threads, and SetMembers may end the
// stream from another at any time: whoever sets finished_ is the one to call Finish.
class PeerService::Reader
    : public grpc::ServerBidiReactor<peer::v1::FrameBatch, peer::v1::Accepted> {
 public:
  Reader(PeerService* service, NodeId from) : service_(service), from_(from) {}

  NodeId from() const { return from_; }

  void Start() {
    StartWrite(&accepted_);
    StartRead(&batch_);
  }

  void End(const grpc::Status& status) {
    {
      std::lock_guard lock(mutex_);
      if (std::exchange(finished_, true)) return;
    }
    Finish(status);
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

  void OnDone() override { service_->Forget(this); }

 private:
  PeerService* const service_;
  const NodeId from_;
  const peer::v1::Accepted accepted_;
  peer::v1::FrameBatch batch_;
  std::mutex mutex_;
  bool finished_ = false;
};

PeerService::PeerService(ClusterId cluster, NodeId self, PeerHandlers handlers)
    : cluster_(cluster), self_(self), handlers_(std::move(handlers)) {}

PeerService::~PeerService() = default;

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

// The last one to hold the reader destroys it: that may be SetMembers.
void PeerService::Forget(Reader* reader) {
  std::shared_ptr<Reader> last;
  std::lock_guard lock(mutex_);
  for (auto it = readers_.begin(); it != readers_.end(); ++it) {
    if (it->get() != reader) continue;
    last = *it;
    readers_.erase(it);
    return;
  }
}

grpc::Status PeerService::FindFault(const grpc::CallbackServerContext& context,
                                    NodeId* from) const {
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

grpc::Status PeerService::CheckMetadata(const grpc::CallbackServerContext& context,
                                        NodeId* from) const {
  grpc::Status fault = FindFault(context, from);
  if (!fault.ok()) {
    spdlog::warn("refused a peer call from={} reason=\"{}\"", context.peer(),
                 fault.error_message());
  }
  return fault;
}

grpc::ServerBidiReactor<peer::v1::FrameBatch, peer::v1::Accepted>* PeerService::Stream(
    grpc::CallbackServerContext* context) {
  using Refused = RefusingReactor<peer::v1::FrameBatch, peer::v1::Accepted>;
  NodeId from;
  const grpc::Status fault = CheckMetadata(*context, &from);
  if (!fault.ok()) return new Refused(fault);
  const std::string url = MetadataText(*context, kPeerMetaFromUrl);
  if (handlers_.on_contact && !url.empty()) handlers_.on_contact(from, url);
  auto reader = std::make_shared<Reader>(this, from);
  {
    std::lock_guard lock(mutex_);
    // It may have been removed since it was checked, and SetMembers looks only once.
    if (removed_.contains(from)) return new Refused(RemovedRefusal(from));
    readers_.insert(reader);
  }
  reader->Start();
  return reader.get();
}

grpc::ServerUnaryReactor* PeerService::Members(grpc::CallbackServerContext* context,
                                               const peer::v1::MembersRequest*,
                                               peer::v1::MembersResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (const grpc::Status version = CheckVersion(*context); !version.ok()) {
    reactor->Finish(version);
    return reactor;
  }
  if (!handlers_.members) {
    reactor->Finish({grpc::StatusCode::UNIMPLEMENTED, "this node does not list members"});
    return reactor;
  }
  const JoinedCluster cluster = handlers_.members();
  response->set_cluster(cluster.cluster.value());
  response->set_from(cluster.self.value());
  response->set_leader(cluster.leader.value());
  for (const ClusterMember& member : cluster.members) {
    auto* out = response->add_members();
    out->set_id(member.id.value());
    out->set_name(member.name);
    for (const std::string& url : member.peer_urls) out->add_peer_urls(url);
    out->set_learner(member.learner);
    out->set_removed(member.removed);
  }
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* PeerService::HashKv(grpc::CallbackServerContext* context,
                                              const peer::v1::HashKvRequest* request,
                                              peer::v1::HashKvResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  NodeId from;
  if (const grpc::Status fault = CheckMetadata(*context, &from); !fault.ok()) {
    reactor->Finish(fault);
    return reactor;
  }
  if (!handlers_.hash_kv) {
    reactor->Finish({grpc::StatusCode::UNIMPLEMENTED, "this node does not hash its state"});
    return reactor;
  }
  handlers_.hash_kv(request->revision(), [reactor, response](StatusOr<HashKvAnswer> answer) {
    if (!answer.ok()) {
      reactor->Finish(ToGrpc(answer.status()));
      return;
    }
    response->set_hash(answer->hash);
    response->set_revision(answer->revision);
    response->set_compact_revision(answer->compact_revision);
    response->set_applied_index(answer->applied.value());
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerBidiReactor<peer::v1::SnapshotPart, peer::v1::SnapshotAnswer>* PeerService::Snapshot(
    grpc::CallbackServerContext* context) {
  using Refused = RefusingReactor<peer::v1::SnapshotPart, peer::v1::SnapshotAnswer>;
  NodeId from;
  const grpc::Status fault = CheckMetadata(*context, &from);
  if (!fault.ok()) return new Refused(fault);
  if (handlers_.snapshots == nullptr) {
    return new Refused({grpc::StatusCode::UNIMPLEMENTED, "this node takes no snapshots"});
  }
  return handlers_.snapshots->Serve(from);
}

}  // namespace raftkv::server
