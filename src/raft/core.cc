#include "raft/core.h"

#include <algorithm>
#include <variant>

#include "common/check.h"
#include "common/membership_codec.h"
#include "common/mutation.h"

namespace raftkv::raft {
namespace {

const Options& Checked(const Options& options) {
  RAFTKV_CHECK(!options.id.none() && options.run != 0, "a node needs an id, and so does its run");
  RAFTKV_CHECK(options.heartbeat_ticks > 0 && options.election_ticks > options.heartbeat_ticks,
               "an election must take longer to time out than a heartbeat");
  RAFTKV_CHECK(options.append_entries_max > 0 && options.inflight_messages_max > 0 &&
                   options.inflight_bytes_max > 0 && options.apply_bytes_max > 0,
               "a limit of 0 would stop replication");
  return options;
}

// Whether only a term's leader sends such a message.
bool IsFromLeader(const MessageBody& body) {
  return std::holds_alternative<AppendRequest>(body) || std::holds_alternative<Heartbeat>(body) ||
         std::holds_alternative<InstallSnapshot>(body);
}

// Whether the message's term is one its sender asks about, rather than the one it is in: pre-votes
// and grants of them speak of the election that may follow (thesis 9.6).
bool IsOfFutureTerm(const MessageBody& body) {
  if (const auto* request = std::get_if<VoteRequest>(&body)) return request->pre_vote;
  if (const auto* response = std::get_if<VoteResponse>(&body)) {
    return response->pre_vote && response->granted;
  }
  return false;
}

// Whether the entry says what its kind promises, as far as that is the core's to know.
bool IsReadable(const Entry& entry) {
  if (entry.kind != EntryKind::kConfig) return true;
  const StatusOr<Membership> membership = DecodeMembership(entry.bytes());
  return membership.ok() && !membership->voters.empty();
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kPreCandidate:
      return "pre-candidate";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
  }
  return "unknown";
}

Core::Core(const Options& options, const PersistentState& state, const LogReader& log, Rng rng)
    : options_(Checked(options)),
      rng_(rng),
      hard_state_{state.hard_state.term, state.hard_state.vote, Index()},
      submitted_hard_state_(state.hard_state),
      durable_hard_state_(state.hard_state),
      log_(state, &log, options.cache_bytes_max),
      acknowledged_(state.acknowledged, log_.last_position()),
      submitted_owed_(acknowledged_.owed()),
      follower_reads_(rng_.Next(), options.election_ticks),
      reported_role_{role_, term(), leader_} {
  ResetElectionTimer();
}

Core::~Core() = default;

// --- Inputs -----------------------------------------------------------------------------------

void Core::Tick() {
  const std::vector<ReadToken> expired = follower_reads_.Tick();
  failed_reads_.insert(failed_reads_.end(), expired.begin(), expired.end());
  if (role_ == Role::kLeader) {
    TickLeader();
  } else {
    TickElection();
  }
}

void Core::Step(Message message) {
  if (!IsWellFormed(message) || !StepTerm(message)) return;
  std::visit([&](auto& body) { Handle(message.from, message.term, body); }, message.body);
}

bool Core::IsWellFormed(const Message& message) const {
  if (message.to != id() || message.from == id() || message.from.none() || message.term.none()) {
    return false;
  }
  if (const auto* install = std::get_if<InstallSnapshot>(&message.body)) {
    const SnapshotMeta& snapshot = install->snapshot;
    return !snapshot.last.index.none() && snapshot.last.term <= message.term &&
           !snapshot.membership.voters.empty();
  }
  const auto* append = std::get_if<AppendRequest>(&message.body);
  if (append == nullptr) return true;
  LogPosition previous = append->previous;
  for (const Entry& entry : append->entries) {
    if (entry.index != previous.index + 1 || entry.term < previous.term) return false;
    if (!IsReadable(entry)) return false;
    previous = entry.position();
  }
  return previous.term <= message.term;
}

// Settles what a message's term means for ours (paper, 5.1). False: there is nothing more to do
// with it.
bool Core::StepTerm(const Message& message) {
  if (message.term < term()) {
    AnswerOlderTerm(message);
    return false;
  }
  if (message.term == term()) return true;
  if (const auto* request = std::get_if<VoteRequest>(&message.body)) {
    // Someone who merely lost touch with a live leader must not depose it (thesis 4.2.3).
    if (!request->leadership_transfer && HearsFromLeader()) return false;
  }
  if (IsOfFutureTerm(message.body)) return true;
  BecomeFollower(message.term, IsFromLeader(message.body) ? message.from : NodeId());
  return true;
}

// The sender is behind, and must learn the term from the answer. For a leader this is more than
// politeness: one that was cut off would go on sending what everybody ignores, while a node with a
// higher term ignores it and, because of pre-vote, can't get elected either.
void Core::AnswerOlderTerm(const Message& message) {
  if (IsFromLeader(message.body)) {
    // A rejection of nothing: no leader, of whatever term, takes anything but the term from it.
    AppendResponse rejection{.run = options_.run};
    rejection.rejected = true;
    Send(message.from, rejection);
  } else if (const auto* request = std::get_if<VoteRequest>(&message.body)) {
    Send(message.from, VoteResponse{.pre_vote = request->pre_vote, .granted = false});
  }
}

StatusOr<LogPosition> Core::Propose(std::span<const Payload> payloads) {
  if (role_ != Role::kLeader) return Status(Code::kNotLeader, "this node does not lead");
  if (payloads.empty()) return Status(Code::kInvalidArgument, "nothing to propose");
  if (!transfer_target_.none()) {
    return Status(Code::kUnavailable, "leadership is being transferred");
  }
  if (log_.held_bytes() > options_.pending_bytes_max) {
    return Status(Code::kResourceExhausted, "too much is waiting to be stored and committed");
  }
  const LogPosition first{log_.last() + 1, term()};
  for (const Payload& payload : payloads) AppendAsLeader(EntryKind::kCommand, payload);
  return first;
}

void Core::OnAppended(AppendSeq seq) {
  RAFTKV_CHECK(seq <= last_seq_, "a write was reported that was never asked for");
  if (seq <= durable_seq_) return;
  durable_seq_ = seq;
  while (!hard_state_writes_.empty() && hard_state_writes_.front().seq <= seq) {
    durable_hard_state_ = hard_state_writes_.front().state;
    hard_state_writes_.pop_front();
  }
  log_.OnWritten(seq);
  if (role_ == Role::kCandidate && HardStateIsDurable()) {
    // A candidate's own vote is a vote like any other: it counts once it is stored.
    CountVote(id(), true);
  } else if (role_ == Role::kLeader) {
    AdvanceCommit();
  }
}

void Core::OnApplied(Index index) {
  log_.OnApplied(index);
  if (!log_.Installing()) installing_.reset();
}

// --- Output -----------------------------------------------------------------------------------

bool Core::HasOutput() const {
  return !send_.empty() || !promises_.empty() || replicate_ || WantsReadRound() ||
         follower_reads_.HasRequest() || !HardStateIsSubmitted() || log_.HasWrite() ||
         submitted_owed_ != acknowledged_.owed() || log_.HasInstall() ||
         log_.HasApply(options_.apply_bytes_max) || !reads_.empty() || !failed_reads_.empty() ||
         !dropped_.empty() || !snapshots_wanted_.empty() ||
         reported_config_ != log_.configs().version() ||
         reported_role_ != RoleChange{role_, term(), leader_};
}

// Rounds of reads and appends are made only here, so that everything that arrived since the last
// call shares them.
Output Core::TakeOutput() {
  StartReads();
  ReplicateToAll();
  Output output;
  output.send = std::exchange(send_, {});
  output.append = TakeAppendTask();
  if (log_.HasInstall()) {
    log_.TakeInstall();
    output.install = installing_;
  }
  if (log_.HasApply(options_.apply_bytes_max)) {
    output.apply = ApplyTask{log_.TakeApply(options_.apply_bytes_max)};
  }
  output.reads = std::exchange(reads_, {});
  output.failed_reads = std::exchange(failed_reads_, {});
  output.dropped = std::exchange(dropped_, {});
  output.snapshots_wanted = std::exchange(snapshots_wanted_, {});
  if (reported_config_ != log_.configs().version()) {
    reported_config_ = log_.configs().version();
    output.membership = membership();
  }
  const RoleChange role{role_, term(), leader_};
  if (role != reported_role_) output.role = reported_role_ = role;
  return output;
}

std::optional<AppendTask> Core::TakeAppendTask() {
  const bool must_write =
      !HardStateIsSubmitted() || log_.HasWrite() || submitted_owed_ != acknowledged_.owed();
  if (!must_write && promises_.empty()) return std::nullopt;
  AppendTask task;
  task.seq = ++last_seq_;
  // A new commit index alone is not worth a write; it goes along with one.
  const HardState now{term(), vote(), log_.commit()};
  if (must_write && now != submitted_hard_state_) {
    task.hard_state = submitted_hard_state_ = now;
    hard_state_writes_.push_back({task.seq, now});
  }
  task.last = log_.last_position();
  task.owed = submitted_owed_ = acknowledged_.owed();
  if (log_.WritesInstall()) task.install = installing_;
  if (log_.WritesCut()) task.cut = LogStart{log_.before_first(), log_.configs().base()};
  log_.TakeWrite(task.seq, &task.truncate_from, &task.entries);
  task.after_sync = std::exchange(promises_, {});
  return task;
}

bool Core::HardStateIsSubmitted() const {
  return submitted_hard_state_.term == term() && submitted_hard_state_.vote == vote();
}

bool Core::HardStateIsDurable() const {
  return durable_hard_state_.term == term() && durable_hard_state_.vote == vote();
}

void Core::SendAt(Term term, NodeId to, MessageBody body) {
  send_.push_back({id(), to, term, std::move(body)});
}

// Sends what states that our term, our vote, and the log up to `covers` are stored: at once if they
// are, and otherwise with the next write, after which they will be. An earlier write that covers
// the promise may still be on its way; the next completes after it.
void Core::Promise(NodeId to, MessageBody body, Index covers) {
  const bool is_vote = std::holds_alternative<VoteResponse>(body);
  if ((HardStateIsDurable() && covers <= log_.durable()) ||
      Mutated(is_vote ? Mutation::kVoteBeforeSync : Mutation::kAckBeforeSync)) {
    Send(to, std::move(body));
    return;
  }
  const auto* response = std::get_if<AppendResponse>(&body);
  if (response != nullptr && !promises_.empty()) {
    // Pipelined appends that are written together are acknowledged together.
    Message& last = promises_.back();
    auto* earlier = std::get_if<AppendResponse>(&last.body);
    if (earlier != nullptr && last.to == to && last.term == term()) {
      earlier->match = std::max(earlier->match, response->match);
      return;
    }
  }
  promises_.push_back({id(), to, term(), std::move(body)});
}

// --- Roles ------------------------------------------------------------------------------------

// A message from the leader of our term arrived.
void Core::Follow(NodeId leader) {
  RAFTKV_CHECK(role_ != Role::kLeader && (leader_.none() || leader_ == leader),
               "nodes " + std::to_string(leader_.value()) + " and " +
                   std::to_string(leader.value()) + " both lead term " +
                   std::to_string(term().value()));
  if (leader_ != leader || role_ != Role::kFollower) BecomeFollower(term(), leader);
  election_elapsed_ = 0;
}

// In the same term the vote stands: whoever steps down may have voted for itself, and a second vote
// in a term could elect a second leader.
void Core::BecomeFollower(Term new_term, NodeId leader) {
  LeaveRole();
  if (new_term > term()) {
    hard_state_ = {new_term, NodeId(), Index()};
    agreed_ = Index();
  }
  if (Mutated(Mutation::kForgetVote)) hard_state_.vote = NodeId();
  role_ = Role::kFollower;
  leader_ = leader;
  ResetElectionTimer();
}

// Ends what belongs to the role held so far; still in its term, so that those who wait for an
// answer to a read can be told.
void Core::LeaveRole() {
  FailReads();
  votes_.clear();
  peers_.clear();
  ticks_led_ = 0;
  snapshots_wanted_.clear();
  heartbeat_elapsed_ = 0;
  term_start_ = Index();
  replicate_ = false;
  transfer_target_ = NodeId();
  transfer_elapsed_ = 0;
  stalled_elapsed_ = 0;
}

bool Core::HearsFromLeader() const {
  return !leader_.none() && election_elapsed_ < options_.election_ticks;
}

std::vector<PeerStatus> Core::Peers() const {
  std::vector<PeerStatus> peers;
  for (const auto& [peer, progress] : peers_) {
    peers.push_back({peer, progress.match(), progress.next(), ContactWith(progress),
                     progress.state_name(), membership().IsLearner(peer)});
  }
  return peers;
}

}  // namespace raftkv::raft
