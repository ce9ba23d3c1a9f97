// What the edges (gRPC and HTTP) can ask of a node: each request checked, taken through Raft or the
// store, answered once.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "common/status.h"
#include "rpc.pb.h"
#include "server/options.h"
#include "server/raft_loop.h"
#include "server/reader_pool.h"
#include "store/apply_loop.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/kv_store.h"

namespace raftkv::server {

// Called exactly once, on any thread; the response is meaningful only with an OK status. Must not
// block.
template <typename Response>
using Done = std::function<void(Status, Response&&)>;

// A request that names a session, but with an empty client id: taken for one without a session it
// would lose the protection it asked for.
Status ErrEmptySessionClient();

// Thread-safe; nothing here blocks.
class Backend {
 public:
  // All must outlive it.
  Backend(const ServerOptions& options, store::Engine* engine, store::KvStore* store,
          store::ApplyLoop* apply_loop, RaftLoop* raft_loop, ReaderPool* readers);

  void Range(etcdserverpb::RangeRequest request, Done<etcdserverpb::RangeResponse> done);
  void Put(const etcdserverpb::PutRequest& request, const store::SessionRef& session,
           Done<etcdserverpb::PutResponse> done);
  void DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                   const store::SessionRef& session, Done<etcdserverpb::DeleteRangeResponse> done);
  void Txn(etcdserverpb::TxnRequest request, const store::SessionRef& session,
           Done<etcdserverpb::TxnResponse> done);
  void Compact(const etcdserverpb::CompactionRequest& request,
               Done<etcdserverpb::CompactionResponse> done);

  etcdserverpb::StatusResponse NodeStatus() const;
  // Linearizable (after a read barrier) unless the request says otherwise.
  void MemberList(const etcdserverpb::MemberListRequest& request,
                  Done<etcdserverpb::MemberListResponse> done);
  // Answers once leadership has moved, or with why it did not.
  void MoveLeader(NodeId target, Done<etcdserverpb::MoveLeaderResponse> done);

  // Answers OK when this node hears a leader that a quorum follows and has applied all it must.
  void Ready(std::function<void(Status)> done);

  // Publishes this member's name and client URLs through the log, unless they are there already.
  // Called after each leader change; goes on until it has succeeded or the node stops.
  void PublishAttributes();

  const ServerOptions& options() const { return options_; }
  RaftLoop* raft_loop() const { return raft_loop_; }

 private:
  template <typename Request, typename Response>
  void Write(store::CommandType type, const Request& request, const store::SessionRef& session,
             Done<Response> done);

  // Runs `read` on a reader thread, after a read barrier unless `serializable`.
  template <typename Response>
  void Read(bool serializable, std::function<StatusOr<Response>()> read, Done<Response> done);

  void FillHeader(etcdserverpb::ResponseHeader* header) const;
  etcdserverpb::MemberListResponse Members() const;

  const ServerOptions options_;
  store::Engine* const engine_;
  store::KvStore* const store_;
  store::ApplyLoop* const apply_loop_;
  RaftLoop* const raft_loop_;
  ReaderPool* const readers_;

  std::atomic<uint64_t> next_request_id_;
  std::atomic<bool> publishing_{false};
};

}  // namespace raftkv::server
