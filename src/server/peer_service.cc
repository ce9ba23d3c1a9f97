#include "server/peer_service.h"

#include <spdlog/spdlog.h>

#include <charconv>
#include <string>

#include "server/transport.h"

namespace raftkv::server {
namespace {

// The number under `key`, or 0.
uint64_t MetadataNumber(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  if (it == metadata.end()) return 0;
  uint64_t value = 0;
  const char* last = it->second.data() + it->second.size();
  const auto [end, error] = std::from_chars(it->second.data(), last, value);
  return error == std::errc() && end == last ? value : 0;
}

}  // namespace

// Reads one stream to its end.
class PeerService::Reader
    : public grpc::ServerBidiReactor<peer::v1::FrameBatch, peer::v1::Accepted> {
 public:
  // A `refusal` that is not OK ends the stream at once.
  Reader(const PeerService* service, NodeId from, const grpc::Status& refusal)
      : service_(service), from_(from) {
    if (!refusal.ok()) {
      Finish(refusal);
    } else {
      StartWrite(&accepted_);
      StartRead(&batch_);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    service_->sink_(from_, std::move(batch_));
    batch_.Clear();
    StartRead(&batch_);
  }

  void OnDone() override { delete this; }

 private:
  const PeerService* service_;
  const NodeId from_;
  const peer::v1::Accepted accepted_;
  peer::v1::FrameBatch batch_;
};

PeerService::PeerService(ClusterId cluster, NodeId self, std::set<NodeId> members, PeerSink sink)
    : cluster_(cluster), self_(self), members_(std::move(members)), sink_(std::move(sink)) {}

grpc::Status PeerService::CheckMetadata(const grpc::CallbackServerContext& context,
                                        NodeId* from) const {
  const auto refuse = [](const std::string& why) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, why);
  };
  const auto& metadata = context.client_metadata();
  const auto version = metadata.find(kPeerMetaVersion);
  if (version == metadata.end() || version->second != kPeerProtocolVersion) {
    return refuse("peer protocol version is not " + std::string(kPeerProtocolVersion) +
                  "; run the same raftkv version on all members");
  }
  if (MetadataNumber(context, kPeerMetaCluster) != cluster_.value()) {
    return refuse("cluster id mismatch; check --initial-cluster and --initial-cluster-token");
  }
  if (MetadataNumber(context, kPeerMetaTo) != self_.value()) {
    return refuse("this is another node; check the peer URLs in --initial-cluster");
  }
  *from = NodeId(MetadataNumber(context, kPeerMetaFrom));
  if (*from == self_ || !members_.contains(*from)) {
    return refuse("the sender is not a member of this cluster");
  }
  return grpc::Status::OK;
}

grpc::ServerBidiReactor<peer::v1::FrameBatch, peer::v1::Accepted>* PeerService::Stream(
    grpc::CallbackServerContext* context) {
  NodeId from;
  const grpc::Status refusal = CheckMetadata(*context, &from);
  if (!refusal.ok()) {
    spdlog::warn("refused a peer stream from={} reason=\"{}\"", context->peer(),
                 refusal.error_message());
  }
  return new Reader(this, from, refusal);
}

}  // namespace raftkv::server
