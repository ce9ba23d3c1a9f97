// Log replication (paper 5.3, 5.4.2): what a leader sends, how a follower answers, what is
// committed.
#include <algorithm>

#include "common/check.h"
#include "common/mutation.h"
#include "raft/core.h"
#include "raft/quorum.h"

namespace raftkv::raft {
namespace {

// Appends read back from disk for one follower in one TakeOutput. Each answer allows as many again,
// so that a follower far behind gets more and more at a time, and yet does not hold up the others
// while a whole window is read.
constexpr int kDiskReadsMax = 2;

}  // namespace

// --- The leader -------------------------------------------------------------------------------

void Core::TickLeader() {
  ++ticks_led_;
  for (auto& [peer, progress] : peers_) MeasureRound(progress);
  if (!transfer_target_.none() && ++transfer_elapsed_ >= options_.election_ticks) {
    transfer_target_ = NodeId();
    ContinueConfigChange();
    if (role_ != Role::kLeader) return;
  }
  if (++election_elapsed_ >= options_.election_ticks) {
    election_elapsed_ = 0;
    CheckQuorum();
    if (role_ != Role::kLeader) return;
  }
  LeaveIfDiskStalls();
  if (++heartbeat_elapsed_ >= options_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    for (auto& [peer, progress] : peers_) progress.OnHeartbeatTick();
    BroadcastHeartbeat();
  }
}

// A quorum of others commits what this node can't store, and so can't apply or answer, while it
// keeps them from electing one that can. Followers find out about a dead leader; of a dead disk
// only the leader can tell them.
void Core::LeaveIfDiskStalls() {
  if (log_.durable() >= log_.commit() || log_.durable() != stalled_at_) {
    stalled_at_ = log_.durable();
    stalled_elapsed_ = 0;
    return;
  }
  if (++stalled_elapsed_ < options_.election_ticks || !transfer_target_.none()) return;
  stalled_elapsed_ = 0;
  (void)TransferLeadership(NodeId());  // where nobody else votes, nothing was committed without it
}

void Core::MeasureRound(Progress& progress) {
  progress.MeasureRound(log_.last(), ticks_led_, options_.election_ticks);
}

void Core::BroadcastHeartbeat() {
  for (const auto& [peer, progress] : peers_) {
    Send(peer, Heartbeat{std::min(progress.match(), log_.commit()), leader_reads_.round(),
                         progress.counted(), progress.run()});
  }
}

void Core::AppendAsLeader(EntryKind kind, Payload payload) {
  log_.Append({log_.last() + 1, term(), kind, std::move(payload)});
  replicate_ = true;
}

void Core::ReplicateToAll() {
  if (!std::exchange(replicate_, false)) return;
  for (auto& [peer, progress] : peers_) Replicate(peer, progress);
}

void Core::Replicate(NodeId to, Progress& progress) {
  const InflightLimits limits{options_.inflight_messages_max, options_.inflight_bytes_max};
  int disk_reads = 0;
  while (progress.CanSend(limits)) {
    const bool has_entries = progress.next() <= log_.last();
    if (!has_entries && progress.state() != Progress::State::kProbe) break;
    if (has_entries && !log_.InMemory(progress.next()) && ++disk_reads > kDiskReadsMax) break;
    if (!SendAppend(to, progress, has_entries)) return;
  }
  if (progress.owes_append() || (!options_.defer_commit && progress.OwesCommit(log_.commit()))) {
    SendAppend(to, progress, /*with_entries=*/false);
  }
}

bool Core::OwesCommit() const {
  return std::ranges::any_of(
      peers_, [this](const auto& peer) { return peer.second.OwesCommit(log_.commit()); });
}

void Core::TellCommit() {
  for (auto& [peer, progress] : peers_) TellCommitTo(peer, progress);
}

void Core::TellCommitTo(NodeId to, Progress& progress) {
  if (progress.OwesCommit(log_.commit())) SendAppend(to, progress, /*with_entries=*/false);
}

// Sends what is next, from memory while the leader's own disk may still be writing it (thesis
// 10.2.1). False when the follower needs what has been cut off.
bool Core::SendAppend(NodeId to, Progress& progress, bool with_entries) {
  const Index previous = progress.next() - 1;
  const std::optional<Term> previous_term = log_.TermAt(previous);
  if (!previous_term) {
    progress.OnCutOff();
    snapshots_wanted_.push_back(to);
    return false;
  }
  AppendRequest request{
      {previous, *previous_term}, log_.commit(), {}, progress.counted(), progress.run()};
  uint64_t bytes = 0;
  if (with_entries) {
    log_.Read(progress.next(), log_.last(), options_.append_bytes_max, options_.append_entries_max,
              &request.entries);
    for (const Entry& entry : request.entries) bytes += EntryBytes(entry);
  }
  progress.OnSent(previous + request.entries.size(), bytes, log_.commit());
  Send(to, std::move(request));
  return true;
}

void Core::Handle(NodeId from, Term, AppendResponse& response) {
  const auto peer = peers_.find(from);
  if (peer == peers_.end()) return;
  Progress& progress = peer->second;
  if (!progress.OnHeard(response.run)) return;
  progress.OnContact(ticks_led_);
  if (response.rejected) {
    const LogPosition agree = log_.LastAtOrBelow(response.hint.index, response.hint.term);
    if (progress.OnRejected(response.rejected_previous, agree.index + 1)) replicate_ = true;
    return;
  }
  // Nobody can hold more of our log than we do.
  if (response.match > log_.last()) return;
  // An old answer is no sign that the follower can do without the snapshot.
  if (progress.state() == Progress::State::kSnapshot && response.match + 1 < log_.first()) return;
  // What lies before our log's start is committed, and so no news.
  const Term match_term = log_.TermAt(response.match).value_or(Term());
  if (!progress.OnAccepted(response.match, match_term)) return;
  MeasureRound(progress);
  replicate_ = true;
  AdvanceCommit();
  if (from == transfer_target_) ContinueTransfer();
}

void Core::Handle(NodeId from, Term, HeartbeatResponse& response) {
  const auto peer = peers_.find(from);
  if (peer == peers_.end()) return;
  Progress& progress = peer->second;
  if (!progress.OnHeard(response.run)) return;
  progress.OnContact(ticks_led_);
  if (progress.OnHeartbeatResponse(log_.last())) replicate_ = true;
  if (response.read_round <= leader_reads_.round()) {
    progress.read_round = std::max(progress.read_round, response.read_round);
    ConfirmReads();
  }
  if (from == transfer_target_) ContinueTransfer();
}

void Core::AdvanceCommit() {
  const Index stored(QuorumValue(membership(), [this](NodeId voter) {
    if (voter == id() && Mutated(Mutation::kCountSelfBeforeSync)) return log_.last().value();
    if (voter == id()) return log_.durable().value();
    const auto peer = peers_.find(voter);
    return peer == peers_.end() ? 0 : peer->second.match().value();
  }));
  // Counting is for entries of the own term only: one of an earlier term may be on a majority and
  // still be overwritten (paper 5.4.2, figure 8).
  if (stored <= log_.commit()) return;
  if (log_.TermAt(stored) != term() && !Mutated(Mutation::kCommitOldTerm)) return;
  CommitTo(stored);
  replicate_ = true;  // followers apply it when they are told
  ContinueConfigChange();
}

// --- A follower -------------------------------------------------------------------------------

void Core::Handle(NodeId from, Term, AppendRequest& request) {
  Follow(from);
  acknowledged_.OnLeaderSays(term(), request.counted, request.heard_run == options_.run,
                             log_.last_position());
  const std::span<Entry> entries = SkipCommitted(request);
  AppendResponse response{.run = options_.run};
  if (!log_.Contains(request.previous)) {
    response.rejected = true;
    response.rejected_previous = request.previous.index;
    response.hint = log_.LastAtOrBelow(request.previous.index, request.previous.term);
    Send(from, response);
    return;
  }
  // Up to here our log equals the leader's. What follows may be left from other terms: it is
  // neither committed by this message nor acknowledged.
  response.match = request.previous.index + entries.size();
  RememberOverwritten(log_.Merge(entries));
  agreed_ = std::max(agreed_, response.match);
  acknowledged_.OnLogChange(log_.last_position());
  CommitTo(
      std::min(request.commit, Mutated(Mutation::kCommitUnmatched) ? log_.last() : response.match));
  Promise(from, response, response.match);
}

// Moves `request.previous` up to the commit index and returns the entries after it. A leader has
// all that is committed (Leader Completeness, paper 5.4.3), so what comes before needs no writing,
// and the start of it may have been cut off here.
std::span<Entry> Core::SkipCommitted(AppendRequest& request) const {
  std::span<Entry> entries = request.entries;
  const Index commit = log_.commit();
  if (request.previous.index >= commit) return entries;
  const auto agrees = [this](LogPosition position) {
    return position.index < log_.before_first().index || log_.Contains(position);
  };
  bool all_agree = agrees(request.previous);
  while (!entries.empty() && entries.front().index <= commit) {
    all_agree = all_agree && agrees(entries.front().position());
    entries = entries.subspan(1);
  }
  RAFTKV_CHECK(all_agree, "the leader's log differs from what was committed here, up to " +
                              std::to_string(commit.value()));
  request.previous = {commit, *log_.TermAt(commit)};
  return entries;
}

void Core::RememberOverwritten(const std::vector<Entry>& removed) {
  for (const Entry& entry : removed) {
    const auto led = std::find(led_terms_.begin(), led_terms_.end(), entry.term);
    if (entry.kind == EntryKind::kCommand && led != led_terms_.end()) {
      overwritten_.insert(entry.position());
    }
  }
}

void Core::CommitTo(Index index) {
  if (index <= log_.commit()) return;
  log_.CommitTo(index);
  std::erase_if(overwritten_, [this](LogPosition position) {
    const bool is_committed = position.index <= log_.commit() && log_.Contains(position);
    const bool is_dropped = !is_committed && WillNeverCommit(position);
    if (is_dropped) dropped_.push_back(position);
    return is_committed || is_dropped;
  });
}

// Its place is taken for good, or an entry of a later term is committed before it: terms never
// decrease along a log.
bool Core::WillNeverCommit(LogPosition position) const {
  return position.index <= log_.commit() || position.term < log_.TermAt(log_.commit());
}

void Core::Handle(NodeId from, Term, Heartbeat& heartbeat) {
  Follow(from);
  acknowledged_.OnLeaderSays(term(), heartbeat.counted, heartbeat.heard_run == options_.run,
                             log_.last_position());
  // The leader sends no more than we have acknowledged, but, until it notices that we were started
  // anew, counts what we acknowledged before, which may be lost.
  CommitTo(std::min(heartbeat.commit, agreed_));
  Send(from, HeartbeatResponse{heartbeat.read_round, options_.run});
}

}  // namespace raftkv::raft
