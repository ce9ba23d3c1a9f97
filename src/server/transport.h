// Outgoing half of the peer network: one gRPC stream to each other member.
//
// Messages may be lost: a full outbox drops, a broken stream loses what was in flight. Raft repeats
// what matters. Order within a stream is kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/types.h"
#include "raft/message.h"
#include "server/options.h"

namespace raftkv::server {

// gRPC metadata of a peer stream; the receiver refuses one that is not for it.
inline constexpr char kPeerMetaVersion[] = "raftkv-peer-version";
inline constexpr char kPeerMetaCluster[] = "raftkv-cluster";
inline constexpr char kPeerMetaFrom[] = "raftkv-from";
inline constexpr char kPeerMetaTo[] = "raftkv-to";
inline constexpr char kPeerProtocolVersion[] = "1";

class PeerLink;

// Thread-safe: the raft thread and the log writer's send.
class Transport {
 public:
  // Members other than `self` get a link each; connecting starts with the first message.
  Transport(ClusterId cluster, NodeId self, const std::vector<MemberOptions>& members);
  // Cancels the streams and waits for them to end.
  ~Transport();

  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Never blocks. Messages to unknown nodes are dropped.
  void Send(std::span<const raft::Message> messages);

  // Client writes for the leader. False: nothing was sent (no open stream, or the outbox is full),
  // so the writes were definitely not proposed.
  bool Forward(NodeId leader, std::vector<std::string> payloads);
  void RefuseForward(NodeId to, const std::vector<uint64_t>& request_ids, bool overloaded);

  void Stop();

  // Messages dropped because an outbox was full, since start.
  uint64_t dropped() const;

 private:
  PeerLink* LinkTo(NodeId id) const;

  const ClusterId cluster_;
  const NodeId self_;
  std::map<NodeId, std::shared_ptr<PeerLink>> links_;
};

}  // namespace raftkv::server
