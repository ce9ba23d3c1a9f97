// Incoming half of the peer network.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "common/membership.h"
#include "common/types.h"
#include "raft.grpc.pb.h"
#include "server/event_loop.h"
#include "server/join.h"
#include "server/options.h"
#include "server/peer_hash.h"

namespace raftkv::server {

class SnapshotReceiver;

// Frames from one peer, in order. Called on the event loop's thread; must not block.
using PeerSink = std::function<void(NodeId from, peer::v1::FrameBatch&& batch)>;

// What the service asks of the node. All are called on the event loop's thread and must not block.
// One that is not set makes its call UNIMPLEMENTED.
struct PeerHandlers {
  PeerSink on_batch;
  // The sender of a new stream is reached at `url`: Transport::AddContact.
  std::function<void(NodeId from, const std::string& url)> on_contact;
  // Calls `done` once, on any thread, with the cluster as this node knows it; `self` is this node.
  using MembersDone = std::function<void(const JoinedCluster&)>;
  std::function<void(MembersDone done)> members;
  // Calls `done` once, on any thread.
  using HashKvDone = std::function<void(StatusOr<HashKvAnswer>)>;
  std::function<void(uint64_t revision, HashKvDone done)> hash_kv;
  // Takes snapshots in; not owned; must outlive the gRPC server.
  SnapshotReceiver* snapshots = nullptr;
};

// Accepts streams of this cluster's nodes that are meant for this node; refuses others with
// FAILED_PRECONDITION and says why, here and at the caller. A sender need not be a member that this
// node knows of: it may be a leader that was added later (paper, section 6: servers take requests
// from servers that are not in their configuration). But one that was removed is refused, with
// PERMISSION_DENIED and kRemovedMessage.
class PeerService {
 public:
  PeerService(ClusterId cluster, NodeId self, PeerHandlers handlers);
  // The server must have been shut down, and the loop stopped.
  ~PeerService();

  // Binds; `loop` is not started yet. kUnavailable, naming it, when an address can't be bound.
  // `ports` (optional) gets the ports, where a URL leaves that to the system.
  Status Listen(const std::vector<Url>& urls, EventLoop* loop, std::vector<int>* ports = nullptr);
  // Takes calls, once the loop has its queue: the other server has been added too.
  void Accept();
  // Ends all calls; while the loop still runs. Idempotent.
  void Shutdown();

  // The configuration as committed (not merely in force: a leader that removes itself leads until
  // its removal is committed, and its messages must be taken till then): ends the streams of
  // members that were removed. Thread-safe.
  void SetMembers(const Membership& committed);

 private:
  class Reader;

  void AcceptStream();
  void AcceptSnapshot();
  void AcceptMembers();
  void AcceptHashKv();

  grpc::Status TakeStream(const std::shared_ptr<Reader>& reader);
  // OK, and the sender in `from`, when the call is for us. Logs a refusal.
  grpc::Status CheckMetadata(const grpc::ServerContextBase& context, NodeId* from) const;
  grpc::Status FindFault(const grpc::ServerContextBase& context, NodeId* from) const;
  void Forget(const Reader* reader);

  const ClusterId cluster_;
  const NodeId self_;
  const PeerHandlers handlers_;

  peer::v1::Peer::AsyncService service_;
  EventLoop* loop_ = nullptr;
  grpc::ServerCompletionQueue* calls_ = nullptr;  // where new ones arrive
  std::unique_ptr<grpc::Server> server_;

  mutable std::mutex mutex_;
  std::set<NodeId> removed_;
  std::set<std::shared_ptr<Reader>> readers_;  // open streams
};

}  // namespace raftkv::server
