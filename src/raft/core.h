// The consensus algorithm as a deterministic state machine: inputs in, one Output out.
//
// It does no I/O, reads no clock, starts no thread, and draws every random number from the
// generator it was given: the same inputs give the same outputs. Sources: Ongaro and Ousterhout,
// "In Search of an Understandable Consensus Algorithm" (the paper); Ongaro's thesis (pre-vote 9.6,
// check-quorum 6.2, ReadIndex 6.4, leadership transfer 3.10, parallel disk writes 10.2.1).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "common/membership.h"
#include "common/rng.h"
#include "common/status.h"
#include "common/types.h"
#include "raft/acknowledged.h"
#include "raft/log_reader.h"
#include "raft/message.h"
#include "raft/persistent_state.h"
#include "raft/progress.h"
#include "raft/raft_log.h"
#include "raft/read_index.h"

namespace raftkv::raft {

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

std::string_view RoleName(Role role);

struct Options {
  NodeId id;
  // Grows from start to start of the node; not 0. Leaders tell by it that a follower was restarted.
  uint64_t run = 1;
  // In ticks. An election times out after a random number of ticks in
  // [election_ticks, 2 * election_ticks). election_ticks must exceed heartbeat_ticks.
  uint32_t election_ticks = 10;
  uint32_t heartbeat_ticks = 1;
  // One AppendRequest carries at most this many bytes and entries (always at least one entry).
  uint64_t append_bytes_max = 1 << 20;
  uint64_t append_entries_max = 4096;
  // Unacknowledged AppendRequests and their bytes, per follower.
  uint32_t inflight_messages_max = 256;
  uint64_t inflight_bytes_max = 16 << 20;
  // Proposals are refused with kResourceExhausted while more than this many bytes of the leader's
  // log are in memory because they are uncommitted, or not on its own disk, which a quorum of
  // others does not wait for (one entry is always let in).
  uint64_t pending_bytes_max = 64 << 20;
  // Entries handed to apply and not yet reported by OnApplied, in bytes (always at least one).
  uint64_t apply_bytes_max = 4 << 20;
  // Recent entries kept in memory beyond those that must be, to feed followers without disk reads.
  uint64_t cache_bytes_max = 32 << 20;
  // As leader: followers hear of a commit with the next append or heartbeat, not at once by a
  // message of its own. Who sets it calls TellCommit where that would be late.
  bool defer_commit = false;
};

// Where the log begins, and the configuration there.
struct LogStart {
  LogPosition before_first;
  Membership membership;

  bool operator==(const LogStart&) const = default;
};

// One disk write. The log writer makes all of it durable, in the order given (hard state and
// entries in the same batch, after removing entries at and above `truncate_from`), then sends
// `after_sync`, then reports OnAppended(seq). Tasks complete in order; one sync may serve many. A
// task without entries, hard state and truncate_from writes nothing itself: its messages wait for
// the tasks before it.
using AppendSeq = uint64_t;
struct AppendTask {
  AppendSeq seq = 0;
  std::optional<HardState> hard_state;
  // A snapshot takes the place of the whole log: every entry goes, the log starts after
  // `install->last` with `install->membership`, and the state machine's data becomes the one staged
  // as `install->id`. All of it in the same batch. `entries` follow it.
  std::optional<SnapshotMeta> install;
  // The log's new start. It is made durable in this batch; the entries up to it may be deleted
  // afterwards, whenever that suits.
  std::optional<LogStart> cut;
  Index truncate_from;  // none: nothing to remove
  // What this node acknowledged and does not have any more; none: all that it acknowledged is in
  // its log, as of this task. To be remembered outside the log, like a hard state, before the
  // messages leave.
  AckBounds owed;
  LogPosition last;  // of the log after this task
  std::vector<Entry> entries;
  // Messages that state a promise: they may leave only when this task, and so all before it, is on
  // disk. They ride here so that no caller can get it wrong.
  std::vector<Message> after_sync;
};

// Entries that are committed and on the local disk, to be applied in order; follow the last task's.
struct ApplyTask {
  std::vector<Entry> entries;
};

// The read may be served once the state machine has applied `index`.
struct ReadReady {
  ReadToken token = 0;
  Index index;
};

struct RoleChange {
  Role role = Role::kFollower;
  Term term;
  NodeId leader;  // none when unknown

  bool operator==(const RoleChange&) const = default;
};

struct Output {
  std::vector<Message> send;  // may go at once; may be lost
  std::optional<AppendTask> append;
  // The snapshot is the node's state now (its AppendTask is on disk): the state machine is to
  // switch to it before it carries out `apply`, and then to report OnApplied(install->last.index).
  std::optional<SnapshotMeta> install;
  std::optional<ApplyTask> apply;
  std::vector<ReadReady> reads;
  std::vector<ReadToken> failed_reads;  // no answer will come; nothing was read: ask again
  // Proposals of this node's that can't be committed any more: definitely not applied, anywhere.
  std::vector<LogPosition> dropped;
  std::optional<RoleChange> role;  // role, term or known leader changed
  // The configuration in force changed: an entry was appended or overwritten, or a snapshot
  // installed.
  std::optional<Membership> membership;
  // Followers whose next entry has been cut off. Each is named once for each snapshot it needs; the
  // answer is OnSnapshotSent.
  std::vector<NodeId> snapshots_wanted;
};

// A follower's standing as its leader sees it, for status pages.
struct PeerStatus {
  NodeId id;
  Index match;
  Index next;
  Contact contact = Contact::kAwaited;  // silent: for an election timeout
  std::string_view state;               // "probe", "replicate" or "snapshot"
  bool learner = false;
};

// Not thread-safe; never blocks except for what LogReader reads. Owned by the raft thread.
class Core {
 public:
  // `log` must outlive the core; it is asked only for entries already reported by OnAppended. `rng`
  // must be seeded differently at every start of the node (see FollowerReads).
  Core(const Options& options, const PersistentState& state, const LogReader& log, Rng rng);
  ~Core();

  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // One unit of time has passed.
  void Tick();

  // A message arrived. Any message may be stale, duplicated, reordered or addressed to another
  // node; those are ignored.
  void Step(Message message);

  // Appends the payloads to the leader's log, in order; returns the position of the first (the
  // others follow it, same term). kNotLeader: nothing was appended. kResourceExhausted: too much is
  // pending, nothing was appended. kUnavailable: leadership is being transferred away.
  StatusOr<LogPosition> Propose(std::span<const Payload> payloads);

  // Asks for a read index; one heartbeat round serves all reads asked for before it starts. The
  // answer comes in Output::reads or Output::failed_reads, exactly once a token. kNotLeader: no
  // leader is known. A follower asks its leader; a lost message leads to a failed read after an
  // election timeout.
  StatusOr<ReadToken> ReadIndex();

  // Hands leadership to `target` (thesis 3.10), or to the most caught-up voter when it is none.
  // kNotLeader when this node does not lead; kFailedPrecondition when `target` does not vote, or
  // there is no other voter. Given up after an election timeout.
  Status TransferLeadership(NodeId target);

  // Changes the configuration to `target`, in which `outgoing` must be empty. Changes of at most
  // one voter go in one step (thesis 4.1), others through a joint configuration that the leader
  // leaves by itself (paper, section 6). Returns the position of the first entry that does so: the
  // change is complete once membership() is not joint and its entry is committed. Errors, after
  // which nothing was appended: kNotLeader; kUnavailable: this leader has committed nothing in its
  // term yet, or leadership is being transferred; kFailedPrecondition: another change is under way;
  // kInvalidArgument: `target` has no voter, or brings back a removed member.
  StatusOr<LogPosition> ProposeConfig(const Membership& target);
  // Whether `learner` could vote without holding up commits: it takes less than an election timeout
  // to store what the leader has. False unless this node leads, and until that was measured.
  bool IsCaughtUp(NodeId learner) const;

  // Entries up to `index` are not needed any more: the applied state that holds them is on disk. At
  // most what is applied is cut. Cheap; the cut goes out with the next AppendTask, which it asks
  // for.
  void CutLog(Index index);

  // The snapshot for `to` (Output::snapshots_wanted) was delivered, up to `last`, or given up with
  // `last` none: it is asked for again when `to` is next heard from.
  void OnSnapshotSent(NodeId to, Index last);
  // The snapshot that is being installed, from when it was accepted until OnApplied reports it; one
  // at a time. Data that was announced by InstallSnapshot and is not named here afterwards was not
  // taken and may be discarded.
  const std::optional<SnapshotMeta>& installing() const { return installing_; }

  // Starts an election at once, without waiting for the timeout (a one-node cluster at start, and
  // tests).
  void Campaign();

  // The task `seq`, and all before it, are on disk.
  void OnAppended(AppendSeq seq);

  // The state machine has applied up to `index`.
  void OnApplied(Index index);

  // As leader, with Options::defer_commit: whether some follower has what is committed and has not
  // been told of it; and tells those.
  bool OwesCommit() const;
  void TellCommit();

  bool HasOutput() const;
  // Everything there is to do since the last call. Tasks must be carried out in order.
  Output TakeOutput();

  // What is known now. Cheap.
  NodeId id() const { return options_.id; }
  Role role() const { return role_; }
  Term term() const { return hard_state_.term; }
  NodeId vote() const { return hard_state_.vote; }
  NodeId leader() const { return leader_; }
  Index commit() const { return log_.commit(); }
  Index applied() const { return log_.applied(); }
  Index first_index() const { return log_.first(); }
  Index last_index() const { return log_.last(); }
  Index durable_index() const { return log_.durable(); }
  // Whether the log lacks entries that this node acknowledged before it was started.
  const Acknowledged& acknowledged() const { return acknowledged_; }
  NodeId transfer_target() const { return transfer_target_; }
  // The configuration in force: that of the last configuration entry in the log, committed or not.
  const Membership& membership() const { return log_.configs().current(); }
  // Of that entry; none: the log's start.
  Index config_index() const { return log_.configs().index(); }
  // Empty unless this node leads.
  std::vector<PeerStatus> Peers() const;
  const RaftLog& log() const { return log_; }

  // Aborts unless the fields agree with each other (src/raft/invariants.cc). Tests call it after
  // every input.
  void CheckInvariants() const;

 private:
  // A change of hard state that was handed out to be written.
  struct HardStateWrite {
    AppendSeq seq = 0;
    HardState state;
  };

  // core.cc: dispatch, and what every part uses.
  bool IsWellFormed(const Message& message) const;
  bool StepTerm(const Message& message);
  void AnswerOlderTerm(const Message& message);
  void Follow(NodeId leader);
  void BecomeFollower(Term term, NodeId leader);
  void LeaveRole();
  void Send(NodeId to, MessageBody body) { SendAt(term(), to, std::move(body)); }
  void SendAt(Term term, NodeId to, MessageBody body);
  void Promise(NodeId to, MessageBody body, Index covers);
  bool HardStateIsSubmitted() const;
  bool HardStateIsDurable() const;
  bool HearsFromLeader() const;
  std::optional<AppendTask> TakeAppendTask();

  // election.cc
  void TickElection();
  void ResetElectionTimer();
  bool MayCampaign() const;
  void StartPreVote();
  void StartElection(bool leadership_transfer);
  void RequestVotes(bool pre_vote, bool leadership_transfer);
  void CountVote(NodeId from, bool granted);
  void BecomeLeader();
  void CheckQuorum();
  Contact ContactWith(const Progress& progress) const;
  NodeId MostCaughtUpVoter() const;
  void ContinueTransfer();
  void Handle(NodeId from, Term term, VoteRequest& request);
  void Handle(NodeId from, Term term, VoteResponse& response);
  void Handle(NodeId from, Term term, TimeoutNow& timeout_now);

  // replication.cc
  void TickLeader();
  void MeasureRound(Progress& progress);
  void LeaveIfDiskStalls();
  void BroadcastHeartbeat();
  void ReplicateToAll();
  void TellCommitTo(NodeId to, Progress& progress);
  void Replicate(NodeId to, Progress& progress);
  bool SendAppend(NodeId to, Progress& progress, bool with_entries);
  void AppendAsLeader(EntryKind kind, Payload payload);
  void AdvanceCommit();
  std::span<Entry> SkipCommitted(AppendRequest& request) const;
  void RememberOverwritten(const std::vector<Entry>& removed);
  void CommitTo(Index index);
  bool WillNeverCommit(LogPosition position) const;
  void Handle(NodeId from, Term term, AppendRequest& request);
  void Handle(NodeId from, Term term, AppendResponse& response);
  void Handle(NodeId from, Term term, Heartbeat& heartbeat);
  void Handle(NodeId from, Term term, HeartbeatResponse& response);

  // config.cc
  void AppendConfig(const Membership& next);
  void FollowMembership();
  void ContinueConfigChange();

  // snapshots.cc
  void SettleBySnapshot(LogPosition last, const std::vector<Entry>& removed);
  void Handle(NodeId from, Term term, InstallSnapshot& install);

  // reads.cc
  bool HasCommittedInTerm() const;
  bool WantsReadRound() const;
  void StartReads();
  void ConfirmReads();
  void FailReads();
  void Handle(NodeId from, Term term, ReadIndexRequest& request);
  void Handle(NodeId from, Term term, ReadIndexResponse& response);

  const Options options_;
  Rng rng_;
  // Its `commit` is filled in only in the copies that are written: log_ has the current one.
  HardState hard_state_;
  HardState submitted_hard_state_;  // as of the last write handed out
  HardState durable_hard_state_;    // as of the last write reported
  std::deque<HardStateWrite> hard_state_writes_;
  AppendSeq last_seq_ = 0;
  AppendSeq durable_seq_ = 0;
  RaftLog log_;
  Acknowledged acknowledged_;
  AckBounds submitted_owed_;
  // Up to here the log is known to equal that of the term's leader: it has been compared since this
  // node was started.
  Index agreed_;
  std::optional<SnapshotMeta> installing_;

  Role role_ = Role::kFollower;
  NodeId leader_;
  uint32_t election_elapsed_ = 0;
  uint32_t election_timeout_ = 0;  // randomized; unused while leading
  std::map<NodeId, bool> votes_;   // a (pre-)candidate's

  // A leader's; empty otherwise.
  std::map<NodeId, Progress> peers_;
  uint64_t ticks_led_ = 0;  // the time that Progress goes by
  uint32_t heartbeat_elapsed_ = 0;
  Index term_start_;        // its no-op
  bool replicate_ = false;  // there may be something to send to followers
  NodeId transfer_target_;
  uint32_t transfer_elapsed_ = 0;
  Index stalled_at_;              // its own disk, behind the others', has not got beyond this...
  uint32_t stalled_elapsed_ = 0;  // ...for so many ticks
  LeaderReads leader_reads_;

  // Terms this process has led whose entries may be uncommitted, and those of the entries that were
  // replaced here. That alone settles nothing: another node may still hold such an entry, be
  // elected and commit it (as in the paper's figure 8), and then it comes back.
  std::vector<Term> led_terms_;
  std::set<LogPosition> overwritten_;

  FollowerReads follower_reads_;
  ReadToken last_read_token_ = 0;

  // The next Output, but for what TakeOutput works out.
  std::vector<Message> send_;
  std::vector<Message> promises_;  // its append's after_sync
  std::vector<ReadReady> reads_;
  std::vector<ReadToken> failed_reads_;
  std::vector<LogPosition> dropped_;
  std::vector<NodeId> snapshots_wanted_;
  RoleChange reported_role_;
  uint64_t reported_config_ = 0;  // ConfigHistory::version
};

}  // namespace raftkv::raft
