// The raft loop: owns the core and everyone who waits for a position in the log. "The raft thread"
// is the event loop's: raft takes its turn there, between the network's events.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "common/mailbox.h"
#include "common/status.h"
#include "common/types.h"
#include "raft.pb.h"
#include "raft/core.h"
#include "server/event_loop.h"
#include "server/member_changes.h"
#include "server/transport.h"
#include "store/apply_loop.h"
#include "wal/log_writer.h"

namespace raftkv::server {

// What the raft thread publishes for status pages and metrics; a copy, consistent in itself.
struct RaftStatus {
  raft::Role role = raft::Role::kFollower;
  Term term;
  NodeId leader;
  Index commit;
  Index applied;
  Index first;
  Index last;
  Index durable;
  uint64_t leader_changes = 0;    // times a leader became known
  uint64_t proposals = 0;         // entries this node proposed as leader
  uint64_t proposals_failed = 0;  // client writes that ended without an applied entry
  uint64_t proposals_pending = 0;
  uint64_t forwarded = 0;  // client writes sent to the leader
  uint64_t reads = 0;      // client reads confirmed
  uint64_t peer_batches_dropped = 0;
  std::vector<raft::PeerStatus> peers;
  std::shared_ptr<const Membership> membership;  // in force; never null once the loop was started
  bool lost_acknowledged = false;  // the log lacks entries that this node acknowledged
  uint64_t log_cuts = 0;
  uint64_t snapshots_installed = 0;
};

struct RaftLoopOptions {
  std::chrono::milliseconds tick{100};
  std::chrono::milliseconds request_timeout{7000};
  std::chrono::milliseconds transfer_timeout{2000};
  // How long followers may have to wait to hear of a commit when no append goes to them.
  std::chrono::milliseconds commit_news_delay{2};
  // Client requests being served; more are refused with ErrTooManyRequests.
  size_t inflight_max = 20000;
  // And the bytes of their commands.
  size_t inflight_bytes_max = 256u << 20;
  // Batches from peers that wait to be read; more are dropped.
  size_t peer_batches_max = 4096;
};

// What the loop tells others, on the raft thread; none may block. Any may be empty.
struct RaftLoopHooks {
  // Role, term or known leader changed.
  std::function<void(const raft::RoleChange&)> role_changed;
  // The configuration in force changed; also called once at the start.
  std::function<void(const Membership&)> membership_changed;
  // The configuration in force is known to be committed: what it says of removals is final.
  std::function<void(const Membership&)> membership_committed;
  // A follower needs a snapshot of all before `first_index`; answered by OnSnapshotSent.
  std::function<void(NodeId to, Term term, Index first_index)> snapshot_wanted;
  // The applied state is being replaced by this snapshot.
  std::function<void(const raft::SnapshotMeta&)> installing;
  // It is committed that this node is no member any more. Once.
  std::function<void()> removed;
};

// Public methods are thread-safe and never block, except Stop.
class RaftLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using ReadCallback = std::function<void(Status)>;

  // What the loop works with; all must outlive it, and `log_writer` be given by SetLogWriter before
  // Start.
  RaftLoop(const RaftLoopOptions& options, std::unique_ptr<raft::Core> core, Transport* transport,
           store::ApplyLoop* apply_loop, RaftLoopHooks hooks);
  ~RaftLoop();

  void SetLogWriter(wal::LogWriter* log_writer) { log_writer_ = log_writer; }
  // Takes its turns on `event_loop`; without one, on a thread of its own.
  void Start(EventLoop* event_loop = nullptr);

  // Replicates one encoded command and calls `done` with its result once it is applied here, or
  // with the status that says why not: kNotLeader and kUnavailable mean definitely not applied,
  // kDropped too; kOutcomeUnknown means it may still be applied. Called exactly once, on the apply
  // or raft thread, or at once when refused. `internal`: the node's own, let in however many there
  // are.
  void Write(std::string command, store::ApplyCallback done, bool internal = false);

  // Calls `ready` once a read of the local state is linearizable (thesis 6.4), or with why it never
  // will be. `timeout` 0: the request timeout. On the raft thread.
  void ReadBarrier(ReadCallback ready, std::chrono::milliseconds timeout = {});

  // Hands leadership to `target`, or to the most caught-up member when it is none. `done` gets OK
  // once another node leads (the target, if one was named), ErrNotLeader when this node does not
  // lead, or that it took longer than an election should. On the raft thread.
  void TransferLeadership(NodeId target, std::function<void(Status)> done);

  // Changes the configuration to what `change` makes of it (on the raft thread). `done` gets the
  // new one once it is committed and applied here, or why not: ErrNotLeader where this node does
  // not lead, `change`'s own error, kOutcomeUnknown when it may yet come. On the raft thread.
  void ChangeMembers(ConfigChange change, ConfigDone done);

  // See raft::Core::CutLog.
  void CutLog(Index index);
  // The data for `snapshot`, from the leader `from` of `term`, is staged. `done` hears, on the raft
  // thread, whether it is taken; if not it may be discarded.
  void OnSnapshotReady(NodeId from, Term term, raft::SnapshotMeta snapshot,
                       std::function<void(bool taken)> done);
  // See raft::Core::OnSnapshotSent.
  void OnSnapshotSent(NodeId to, Index last);

  // From the peer service, the log writer and the apply loop.
  void OnPeerBatch(NodeId from, peer::v1::FrameBatch&& batch);
  void OnAppended(raft::AppendSeq seq);
  void OnApplied(Index index);

  // As of the last turn of the loop.
  RaftStatus status() const;
  Term term() const { return Term(term_.load(std::memory_order_relaxed)); }
  size_t queue_depth() const { return mailbox_.size(); }
  // Bytes of the entries handed to apply since the start.
  uint64_t bytes_applied() const { return bytes_applied_.load(std::memory_order_relaxed); }
  // Whether this node votes in the configuration in force.
  bool votes() const { return votes_.load(std::memory_order_relaxed); }

  // Takes no more turns, and fails what waits with ErrStopped (writes: kOutcomeUnknown where they
  // may be in a log). The event loop goes on. Idempotent.
  void Stop();

 private:
  struct WriteRequest {
    uint64_t id = 0;
    std::string command;
    store::ApplyCallback done;
    Clock::time_point deadline;
  };
  struct ReadRequest {
    ReadCallback ready;
    Clock::time_point deadline;
  };
  struct PeerInput {
    NodeId from;
    peer::v1::FrameBatch batch;
  };
  struct Appended {
    raft::AppendSeq seq;
  };
  struct Applied {
    Index index;
  };
  struct Transfer {
    NodeId target;
    std::function<void(Status)> done;
    Clock::time_point deadline;
  };
  struct MembersRequest {
    ConfigChange change;
    ConfigDone done;
    Clock::time_point deadline;
  };
  struct Cut {
    Index index;
  };
  struct SnapshotReady {
    NodeId from;
    Term term;
    raft::SnapshotMeta snapshot;
    std::function<void(bool)> done;
  };
  struct SnapshotSent {
    NodeId to;
    Index last;
  };
  using Mail = std::variant<WriteRequest, ReadRequest, PeerInput, Appended, Applied, Transfer,
                            MembersRequest, Cut, SnapshotReady, SnapshotSent>;

  // A client write in this node's own log, in order of position.
  struct Proposed {
    LogPosition position;
    store::ApplyCallback done;  // null once answered
    Clock::time_point deadline;
  };
  // A client write sent to the leader; found by request id when it is applied here.
  struct Forwarded {
    store::ApplyCallback done;
    Clock::time_point deadline;
    NodeId leader;
    std::string command;  // kept until its fate is known, so that a refusal can be retried
  };

  template <typename Queue>
  static void MoveAll(Queue* from, Queue* to) {
    to->insert(to->end(), std::make_move_iterator(from->begin()),
               std::make_move_iterator(from->end()));
    from->clear();
  }

  // False, and `mail` is untouched, once the loop has stopped.
  bool Post(Mail&& mail);

  void Run();
  Clock::time_point TakeTurn();
  void Begin();
  Clock::time_point NextDeadline() const;
  void Work();
  void Handle(Mail&& mail);
  void HandlePeer(PeerInput&& input);
  void HandleForward(NodeId from, peer::v1::Forward* forward);
  void HandleForwardRefused(const peer::v1::ForwardRefused& refused);
  void TellCommitIfDue(Clock::time_point now);
  void CatchUpTicks(Clock::time_point now);

  void Unpark();
  void DispatchWrites();
  void ProposeWrites();
  void ForwardWrites(NodeId leader);
  void DispatchReads();
  void AnswerReads();
  void ExpireRequests(Clock::time_point now);
  void ExpireReads(Clock::time_point now);

  void CarryOut(raft::Output output);
  void CarryOutReads(const raft::Output& output);
  void CarryOutApply(raft::ApplyTask task);
  void CarryOutInstall(const raft::SnapshotMeta& snapshot);
  void CarryOutMembership(const Membership& membership);
  void HandleSnapshotReady(SnapshotReady&& ready);
  void NoticeCommittedMembership();
  void NoticeRemoval();
  void CarryOutRole(const raft::RoleChange& change);
  void BeginTransfer(Transfer&& transfer);
  void FailDropped(const std::vector<LogPosition>& dropped);
  void PublishStatus();
  void FailEverything();

  // False when there are too many already. A request let in leaves through Depart.
  bool Admit(size_t bytes, bool internal);
  void Depart(size_t bytes);
  void FailWrite(store::ApplyCallback& done, Status status);

  const RaftLoopOptions options_;
  const std::unique_ptr<raft::Core> core_;
  Transport* const transport_;
  store::ApplyLoop* const apply_loop_;
  wal::LogWriter* log_writer_ = nullptr;
  const RaftLoopHooks hooks_;

  std::atomic<EventLoop*> event_loop_{nullptr};
  bool stopped_ = false;  // the owner's
  Mailbox<Mail> mailbox_;
  std::atomic<uint64_t> term_{0};
  std::atomic<uint64_t> bytes_applied_{0};
  std::atomic<bool> votes_;  // requests may come before the loop is started
  std::atomic<size_t> inflight_{0};
  std::atomic<size_t> inflight_bytes_{0};
  std::atomic<size_t> peer_batches_{0};
  std::atomic<uint64_t> peer_batches_dropped_{0};
  std::thread thread_;

  // Owned by the raft thread from here on.
  bool begun_ = false;
  std::vector<Mail> mail_;
  Clock::time_point next_tick_;
  // When followers are told of what was committed, if no append does it before.
  std::optional<Clock::time_point> commit_news_due_;
  Index forwarded_last_;  // of the entries proposed for others' clients; none once it is committed
  NodeId leader_;
  uint64_t last_stamp_ms_ = 0;
  // Not yet proposed anywhere: to be tried this turn, or after the next tick or leader change.
  std::deque<WriteRequest> waiting_writes_;
  std::deque<WriteRequest> parked_writes_;
  std::deque<Proposed> proposed_;
  std::map<uint64_t, Forwarded> forwarded_;
  std::vector<ReadRequest> waiting_reads_;
  std::vector<ReadRequest> parked_reads_;
  std::map<raft::ReadToken, std::vector<ReadRequest>> reads_;
  std::multimap<Index, std::vector<ReadRequest>> confirmed_reads_;  // until that index is applied
  std::vector<Transfer> transfers_;
  MemberChanges member_changes_;
  std::shared_ptr<const Membership> membership_;
  bool commit_reported_ = false;  // of membership_
  uint32_t ticks_since_removed_ = 0;
  uint64_t log_cuts_ = 0;
  uint64_t snapshots_installed_ = 0;
  uint64_t leader_changes_ = 0;
  uint64_t proposals_ = 0;
  std::atomic<uint64_t> proposals_failed_{0};
  uint64_t forwards_ = 0;
  uint64_t reads_confirmed_ = 0;

  mutable std::mutex status_mutex_;
  RaftStatus status_;
};

}  // namespace raftkv::server
