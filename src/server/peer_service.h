// Incoming half of the peer network.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "common/types.h"
#include "raft.grpc.pb.h"

namespace raftkv::server {

// Frames from one peer, in order. Called on gRPC's threads; must not block.
using PeerSink = std::function<void(NodeId from, peer::v1::FrameBatch&& batch)>;

// Accepts streams of this cluster's members that are meant for this node; refuses the others with
// FAILED_PRECONDITION and says why, here and at the caller.
class PeerService final : public peer::v1::Peer::CallbackService {
 public:
  PeerService(ClusterId cluster, NodeId self, std::set<NodeId> members, PeerSink sink);

  grpc::ServerBidiReactor<peer::v1::FrameBatch, peer::v1::Accepted>* Stream(
      grpc::CallbackServerContext* context) override;

 private:
  class Reader;

  // OK, and the sender in `from`, when the stream is for us.
  grpc::Status CheckMetadata(const grpc::CallbackServerContext& context, NodeId* from) const;

  const ClusterId cluster_;
  const NodeId self_;
  const std::set<NodeId> members_;
  const PeerSink sink_;
};

}  // namespace raftkv::server
