// Outgoing half of the peer network: one gRPC stream to each other member.
//
// Messages may be lost: a full outbox drops, a broken stream loses what was in flight. Raft repeats
// what matters. Order within a stream is kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/membership.h"
#include "common/types.h"
#include "raft.pb.h"
#include "raft/message.h"
#include "server/event_loop.h"
#include "server/options.h"
#include "server/peer_channel.h"

namespace raftkv::server {

class PeerLink;

// One peer as the transport sees it, for metrics and status pages.
struct LinkStatus {
  NodeId id;
  std::string address;  // the one in use, "host:port"
  bool member = false;  // false: a node that has contacted us
  bool connected = false;
  uint64_t dropped = 0;
};

// Thread-safe: the event loop's thread and the log writer's send.
class Transport {
 public:
  // A peer has told us, by refusing a stream, that this node was removed from the cluster. Called
  // at most once, on the loop's thread; must not block.
  using OnRemoved = std::function<void(const std::string& reason)>;

  // `initial_cluster` is where members are reached for which the membership names no URL. Its
  // members other than `self` get a link each; connecting starts with the first message.
  // `advertise_url` tells peers that have not heard of this node where to send their answers. The
  // streams' events come on `loop`, which must outlive this.
  Transport(ClusterId cluster, NodeId self, const std::vector<MemberOptions>& initial_cluster,
            EventLoop* loop, std::string advertise_url = "", OnRemoved on_removed = nullptr);
  // Cancels the streams and waits for them to end: the loop must still run.
  ~Transport();

  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // The configuration in force, committed or not: opens links to new members, keeps those to former
  // ones as contacts, and reconnects to members with new addresses. Never blocks.
  void SetMembers(const Membership& membership);

  // `from`, who may be no member, is reached at `url`. Messages to nodes that are no members go
  // there: answers to a leader that this node has not heard of yet.
  void AddContact(NodeId from, const std::string& url);

  // Where `id` is reached now; none when that is not known.
  std::optional<Url> AddressOf(NodeId id) const;

  // Never blocks. Messages to unknown nodes are dropped.
  void Send(std::span<const raft::Message> messages);

  // Client writes for the leader. False: nothing was sent (no open stream, or the outbox is full),
  // so the writes were definitely not proposed.
  bool Forward(NodeId leader, std::vector<std::string> payloads);
  void RefuseForward(NodeId to, const std::vector<uint64_t>& request_ids,
                     peer::v1::ForwardRefused::Reason reason);

  void Stop();

  // Messages dropped because an outbox was full or nobody was connected, since start.
  uint64_t dropped() const;
  std::vector<LinkStatus> Links() const;

 private:
  struct LinkEntry {
    std::shared_ptr<PeerLink> link;
    bool member = false;
    uint64_t last_use = 0;  // of a contact's link
  };

  // These need mutex_.
  std::shared_ptr<PeerLink> LinkTo(NodeId id);
  void OpenLink(NodeId id, std::vector<Url> urls, bool member);
  void CloseLink(NodeId id);
  void CloseLeastUsedContact();

  void ReportRemoved(const std::string& reason);

  const ClusterId cluster_;
  const NodeId self_;
  EventLoop* const loop_;
  const std::string advertise_url_;
  const OnRemoved on_removed_;
  std::atomic<bool> removed_reported_{false};
  std::map<NodeId, MemberOptions> initial_cluster_;

  mutable std::mutex mutex_;  // never held during I/O
  bool stopped_ = false;
  std::map<NodeId, LinkEntry> links_;
  std::map<NodeId, Url> contacts_;
  std::vector<std::shared_ptr<PeerLink>> ending_;  // cancelled; some may not have ended yet
  uint64_t uses_ = 0;
  uint64_t dropped_before_ = 0;  // by links that are gone
};

}  // namespace raftkv::server
