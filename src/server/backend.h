// What the edges (gRPC and HTTP) can ask of a node: each request checked, taken through Raft or the
// store, answered once.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/status.h"
#include "rpc.pb.h"
#include "server/event_loop.h"
#include "server/options.h"
#include "server/raft_loop.h"
#include "server/reader_pool.h"
#include "store/apply_loop.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "store/session_limits.h"

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
  // All must outlive it. `base` is the configuration before the first configuration entry that was
  // applied. `background` runs what takes long: hashes of everything. Reads of one key are answered
  // on the thread of `event_loop` (null: there is none) where that takes no wait.
  Backend(const ServerOptions& options, store::Engine* engine, store::KvStore* store,
          store::ApplyLoop* apply_loop, RaftLoop* raft_loop, const EventLoop* event_loop,
          ReaderPool* readers, ReaderPool* background, Membership base);

  void Range(etcdserverpb::RangeRequest request, Done<etcdserverpb::RangeResponse> done);
  void Put(const etcdserverpb::PutRequest& request, const store::SessionRef& session,
           Done<etcdserverpb::PutResponse> done);
  void DeleteRange(etcdserverpb::DeleteRangeRequest request, const store::SessionRef& session,
                   Done<etcdserverpb::DeleteRangeResponse> done);
  void Txn(etcdserverpb::TxnRequest request, const store::SessionRef& session,
           Done<etcdserverpb::TxnResponse> done);
  void Compact(const etcdserverpb::CompactionRequest& request,
               Done<etcdserverpb::CompactionResponse> done);

  etcdserverpb::StatusResponse NodeStatus() const;
  // As NodeStatus, on a reader's thread: it looks at the files on disk.
  void AskStatus(const etcdserverpb::StatusRequest& request,
                 Done<etcdserverpb::StatusResponse> done);
  // Linearizable (after a read barrier) unless the request says otherwise.
  void MemberList(const etcdserverpb::MemberListRequest& request,
                  Done<etcdserverpb::MemberListResponse> done);
  // Raises, lowers or lists alarms, through the log. As in etcd, a CORRUPT alarm of any member
  // refuses every change of the data; beyond etcd, that member's reads too.
  void Alarm(const etcdserverpb::AlarmRequest& request, Done<etcdserverpb::AlarmResponse> done);
  void HashKv(int64_t revision, Done<store::KvStore::Hash> done);
  // Hashes under way end with kCancelled; new ones too.
  void StopHashing() { stop_hashing_ = true; }

  // The configuration as of the applied position.
  Membership AppliedConfiguration() const;
  // A snapshot takes the place of the state; see the constructor's `base`.
  void SetBase(const Membership& base);
  Membership Base() const;
  // The members of a configuration, with what they published about themselves.
  std::vector<etcdserverpb::Member> Describe(const Membership& membership) const;

  // Takes alarms into account that were applied since; cheap, called often.
  void RefreshAlarms();
  bool HasAlarm(NodeId member, etcdserverpb::AlarmType type) const;
  // The node's own change of an alarm; tried once, its outcome shows in HasAlarm.
  void ProposeAlarm(NodeId member, etcdserverpb::AlarmType type, bool raise);

  // Changes the cluster's session limits, on behalf of this node's flags.
  void ProposeSessionLimits(const store::SessionLimits& limits, std::function<void(Status)> done);

  // Answers once leadership has moved, or with why it did not.
  void MoveLeader(NodeId target, Done<etcdserverpb::MoveLeaderResponse> done);

  // Answers OK when this node hears a leader that a quorum follows and has applied all it must.
  void Ready(std::function<void(Status)> done);

  // Publishes this member's name and client URLs through the log, unless they are there already.
  // Called after each leader change; goes on until it has succeeded or the node stops.
  void PublishAttributes();

  void FillHeader(etcdserverpb::ResponseHeader* header) const;
  const ServerOptions& options() const { return options_; }
  store::KvStore* store() const { return store_; }
  RaftLoop* raft_loop() const { return raft_loop_; }

 private:
  // A change of the data: refused while any member is known to be corrupt.
  template <typename Request, typename Response>
  void Write(store::CommandType type, const Request& request, const store::SessionRef& session,
             Done<Response> done);
  // The same once what it deletes was counted, by a reader: it may be many keys.
  template <typename Request, typename Response>
  void WriteIfFew(store::CommandType type, Request request, const store::SessionRef& session,
                  Done<Response> done);
  // Through the log, whatever alarm is raised.
  template <typename Request, typename Response>
  void Submit(store::CommandType type, const Request& request, const store::SessionRef& session,
              Done<Response> done);

  // A read that is under way. Kept by whoever is to go on with it.
  template <typename Response>
  struct Reading {
    std::function<StatusOr<Response>()> read;
    // May be null. The same without waiting for anything; none where that can't be.
    std::function<std::optional<StatusOr<Response>>()> read_at_once;
    Done<Response> done;
  };
  // Has it read after a read barrier, unless `serializable`.
  template <typename Response>
  void Read(bool serializable, Reading<Response> reading);
  // Reads at once or on a reader thread, what the node has applied by now.
  template <typename Response>
  void ReadNow(std::shared_ptr<Reading<Response>> reading);
  template <typename Response>
  void Answer(const Reading<Response>& reading, StatusOr<Response> response) const;

  etcdserverpb::MemberListResponse Members() const;
  // Why this node can't serve reads: its data is known to be corrupt, or it does not vote (unless
  // `local`, a read of what it has).
  Status CheckReading(bool local) const;
  Status CheckVoting() const;

  const ServerOptions options_;
  store::Engine* const engine_;
  store::KvStore* const store_;
  store::ApplyLoop* const apply_loop_;
  RaftLoop* const raft_loop_;
  const EventLoop* const event_loop_;
  ReaderPool* const readers_;
  ReaderPool* const background_;

  mutable std::mutex base_mutex_;
  Membership base_;
  std::atomic<bool> stop_hashing_{false};
  std::atomic<bool> no_space_{false};      // some member's alarm
  std::atomic<bool> corrupt_{false};       // some member's alarm
  std::atomic<bool> self_corrupt_{false};  // this node's
  std::atomic<uint64_t> next_request_id_;
  std::atomic<bool> publishing_{false};
};

}  // namespace raftkv::server
