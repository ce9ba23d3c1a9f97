#include "raft/safety_checker.h"

#include <functional>
#include <variant>

#include "common/membership_codec.h"

namespace raftkv::raft {
namespace {

std::string Str(LogPosition position) {
  return "(" + std::to_string(position.index.value()) + "," +
         std::to_string(position.term.value()) + ")";
}

void Require(bool holds, const SimNode& node, const std::string& what) {
  if (!holds) throw SafetyViolation("node " + std::to_string(node.id().value()) + ": " + what);
}

bool IsMajority(const std::set<NodeId>& voters, const std::function<bool(NodeId)>& holds) {
  size_t count = 0;
  for (const NodeId voter : voters) count += holds(voter) ? 1 : 0;
  return 2 * count > voters.size();
}

bool IsQuorum(const Membership& membership, const std::function<bool(NodeId)>& holds) {
  return IsMajority(membership.voters, holds) &&
         (membership.outgoing.empty() || IsMajority(membership.outgoing, holds));
}

// Whether no two disjoint sets of nodes are a quorum of the one and of the other.
bool ShareQuorums(const Membership& a, const Membership& b, uint64_t nodes) {
  for (uint64_t set = 0; set < (uint64_t{1} << nodes); ++set) {
    const auto in_set = [set](NodeId id) { return ((set >> (id.value() - 1)) & 1) != 0; };
    const auto not_in_set = [&](NodeId id) { return !in_set(id); };
    if (IsQuorum(a, in_set) && IsQuorum(b, not_in_set)) return false;
  }
  return true;
}

}  // namespace

SafetyChecker::SafetyChecker(const Nodes& nodes)
    : nodes_(nodes),
      start_(nodes.front()->disk().start()),
      committed_configs_{{start_.index, nodes.front()->disk().membership()}} {}

const Membership& SafetyChecker::MembershipAt(Index index) const {
  return std::prev(committed_configs_.upper_bound(index))->second;
}

size_t SafetyChecker::configs_overwritten() const {
  size_t count = 0;
  for (const auto& [position, membership] : configs_) {
    if (position.index <= committed() && At(position.index).entry.term != position.term) ++count;
  }
  return count;
}

void SafetyChecker::AfterInput(const SimNode& node) {
  node.core().CheckInvariants();
  Seen& seen = seen_[node.id()];
  Require(node.core().term() >= seen.term, node, "the term went back");
  Require(node.core().commit() >= seen.commit, node, "the commit index went back");
  if (node.core().role() == Role::kLeader) CheckLeader(node);
  CheckCommit(node);
  seen = {node.core().term(), node.core().commit()};
}

// Election Safety and Leader Completeness.
void SafetyChecker::CheckLeader(const SimNode& node) {
  const Term term = node.core().term();
  const auto [leader, is_new] = leaders_.emplace(term, node.id());
  Require(leader->second == node.id(), node,
          "a second leader of term " + std::to_string(term.value()));
  if (!is_new) return;
  CheckElection(node);
  for (const Committed& committed : committed_) {
    if (committed.in_term >= term) continue;
    if (committed.entry.index < node.core().log().before_first().index) continue;
    Require(node.core().log().Contains(committed.entry.position()), node,
            "leads without the committed entry " + Str(committed.entry.position()));
  }
}

// Only voters count, and each of them has stored its vote.
void SafetyChecker::CheckElection(const SimNode& node) const {
  const Membership& membership = node.core().membership();
  bool may_lead = node.core().log().configs().base().IsVoter(node.id());
  for (const ConfigEntry& config : node.core().log().configs().entries()) {
    // The last that is committed and those that are not.
    if (config.index <= node.core().commit()) may_lead = false;
    may_lead = may_lead || config.membership.IsVoter(node.id());
  }
  Require(may_lead, node, "leads, but has no vote");
  const bool won = IsQuorum(membership, [&](NodeId voter) {
    if (voter == node.id()) return node.disk().hard_state().vote == voter;
    const auto vote = votes_.find({voter, node.core().term()});
    return vote != votes_.end() && vote->second == node.id();
  });
  Require(won, node, "leads without the votes of a quorum of " + ToString(membership));
}

// The configuration in force is the last in the log.
void SafetyChecker::CheckConfig(const SimNode& node, const Output& output) {
  const RaftLog& log = node.core().log();
  if (output.append) {
    for (const Entry& entry : output.append->entries) {
      if (entry.kind != EntryKind::kConfig) continue;
      configs_.emplace(entry.position(), *DecodeMembership(entry.bytes()));
    }
    if (output.append->cut) {
      const LogStart& cut = *output.append->cut;
      Require(
          cut.membership.voters.empty() || cut.membership == MembershipAt(cut.before_first.index),
          node, "cut its log with another configuration than that committed");
    }
  }
  const Membership* last = nullptr;
  for (auto config = configs_.rbegin(); config != configs_.rend() && last == nullptr; ++config) {
    const LogPosition position = config->first;
    if (position.index >= log.first() && log.Contains(position)) last = &config->second;
  }
  // A node that joined does not know the configurations before it did.
  if (last == nullptr && !node.core().membership().voters.empty()) {
    last = &MembershipAt(log.before_first().index);
  }
  Require(last == nullptr || *last == node.core().membership(), node,
          "acts by another configuration than the last in its log: " +
              ToString(node.core().membership()));
  if (!output.membership) return;
  Require(*output.membership == node.core().membership(), node, "reported another configuration");
  const Membership* previous = &log.configs().base();
  for (const ConfigEntry& config : log.configs().entries()) {
    Require(previous->voters.empty() || ShareQuorums(*previous, config.membership, nodes_.size()),
            node,
            "two configurations in a row share no quorum: " + ToString(*previous) + " and " +
                ToString(config.membership));
    previous = &config.membership;
  }
}

Entry SafetyChecker::EntryOf(const SimNode& node, Index index) const {
  std::vector<Entry> entries;
  node.core().log().Read(index, index, UINT64_MAX, 1, &entries);
  return entries.front();
}

// State Machine Safety, on the commit index already; and that what is committed is stored.
void SafetyChecker::CheckCommit(const SimNode& node) {
  const Core& core = node.core();
  for (Index i = seen_[node.id()].commit + 1; i <= core.commit(); ++i) {
    if (i <= start_.index) continue;
    if (i < core.log().before_first().index) {
      Require(i <= committed(), node, "installed a snapshot of what is not committed");
      continue;
    }
    if (i <= committed()) {
      Require(core.log().TermAt(i) == At(i).entry.term, node,
              "committed another entry than " + Str(At(i).entry.position()));
      continue;
    }
    const Entry entry = EntryOf(node, i);
    // One that has committed its own removal resigns at once.
    const auto leader = leaders_.find(core.term());
    Require(leader != leaders_.end() && leader->second == node.id(), node,
            "a follower was the first to commit " + Str(entry.position()));
    Require(!dropped_.contains(entry.position()), node,
            "committed an entry that was reported as dropped, " + Str(entry.position()));
    committed_.push_back({entry, core.term()});
    committed_under_ = core.membership();
    if (entry.kind == EntryKind::kConfig) {
      committed_configs_[entry.index] = *DecodeMembership(entry.bytes());
    }
    for (const auto& other : nodes_) {
      if (!other->up() || other->core().role() != Role::kLeader) continue;
      Require(other->core().term() <= core.term() || other->core().log().Contains(entry.position()),
              *other, "leads without the entry committed just now, " + Str(entry.position()));
    }
  }
  CheckStoredByQuorum(committed());
}

// By Log Matching the last one stands for all before it, and so does a log that was cut off after
// it.
void SafetyChecker::CheckStoredByQuorum(Index index) const {
  if (index <= start_.index) return;
  const Entry& entry = At(index).entry;
  const bool is_stored = IsQuorum(committed_under_, [&](NodeId id) {
    const SimDisk& disk = nodes_[id.value() - 1]->disk();
    return disk.start().index > index || disk.TermAt(index) == entry.term ||
           disk.HasLost(entry.position());  // had it
  });
  if (is_stored) return;
  throw SafetyViolation("the committed entry " + Str(entry.position()) +
                        " is not on the disks of a quorum of " + ToString(committed_under_));
}

void SafetyChecker::OnDiskChange() { CheckStoredByQuorum(committed()); }

void SafetyChecker::OnOutput(const SimNode& node, const Output& output) {
  if (output.append) {
    // Log Matching: a position names one entry, and one predecessor.
    for (const Entry& entry : output.append->entries) {
      const Identity identity{node.core().log().TermAt(entry.index - 1).value(), entry.kind,
                              std::string(entry.bytes())};
      const auto known = identities_.emplace(entry.position(), identity).first;
      Require(known->second == identity, node, "there are two entries " + Str(entry.position()));
    }
  }
  CheckConfig(node, output);
  for (const ReadReady& read : output.reads) AnswerRead(node, read.token, &read.index);
  for (const ReadToken token : output.failed_reads) AnswerRead(node, token, nullptr);
  for (const LogPosition& position : output.dropped) {
    const auto proposal = proposals_.find(position);
    Require(proposal != proposals_.end() && proposal->second == node.id(), node,
            "dropped what it did not propose, " + Str(position));
    Require(dropped_.insert(position).second, node, "dropped " + Str(position) + " twice");
    undecided_.erase(position);
    Require(position.index > committed() || At(position.index).entry.term != position.term, node,
            "dropped " + Str(position) + ", which is committed");
  }
}

void SafetyChecker::OnSend(const SimNode& node, const Message& message) {
  if (const auto* request = std::get_if<VoteRequest>(&message.body)) {
    if (!request->pre_vote) CheckVote(node, message.term, node.id());
  } else if (const auto* response = std::get_if<VoteResponse>(&message.body)) {
    if (!response->pre_vote && response->granted) CheckVote(node, message.term, message.to);
  } else if (const auto* ack = std::get_if<AppendResponse>(&message.body)) {
    if (!ack->rejected) CheckAcknowledgement(node, message, *ack);
  }
}

// A vote that was told is on disk, or a later term is, and it is the only one of its term.
void SafetyChecker::CheckVote(const SimNode& node, Term term, NodeId candidate) {
  const auto vote = votes_.emplace(std::pair(node.id(), term), candidate).first;
  Require(vote->second == candidate, node, "voted twice in term " + std::to_string(term.value()));
  const HardState& stored = node.disk().hard_state();
  Require(stored.term > term || (stored.term == term && stored.vote == candidate), node,
          "told of a vote that is not stored");
}

// What is acknowledged is on disk and equal to the leader's log. A node that has heard of a later
// term since may have replaced it.
void SafetyChecker::CheckAcknowledgement(const SimNode& node, const Message& message,
                                         const AppendResponse& response) const {
  const HardState& stored = node.disk().hard_state();
  Require(stored.term >= message.term, node, "acknowledged in a term that is not stored");
  if (stored.term > message.term) return;
  const std::optional<Term> term = node.disk().TermAt(response.match);
  const auto what = "acknowledged entry " + std::to_string(response.match.value());
  // A spare node's log may start before the others'.
  if (response.match < node.disk().start().index || response.match.none()) return;
  Require(term.has_value(), node, what + ", not stored");
  for (const auto& leader : nodes_) {
    if (leader->id() != message.to || !leader->up() || leader->core().term() != message.term)
      continue;
    if (leader->core().role() != Role::kLeader) continue;
    if (response.match < leader->core().log().before_first().index) continue;
    Require(leader->core().log().TermAt(response.match) == term, node,
            what + ", another than the leader's");
  }
}

void SafetyChecker::OnApplied(const SimNode& node, const SimNode::Applied& applied) {
  if (applied.install) {
    ++installs_;
    const LogPosition last = applied.install->last;
    Require(last.index <= committed() && PositionAt(last.index) == last, node,
            "installed a snapshot of what is not committed, " + Str(last));
    std::erase_if(undecided_, [&](const auto& proposal) {
      return proposal.second == node.id() && proposal.first.index <= last.index;
    });
  }
  for (const Entry& entry : applied.entries) {
    Require(entry.index <= committed(), node, "applied what is not committed");
    const Entry& committed = At(entry.index).entry;
    Require(entry.term == committed.term && entry.kind == committed.kind &&
                entry.bytes() == committed.bytes(),
            node, "applied another entry than " + Str(committed.position()));
  }
}

void SafetyChecker::OnCrash(const SimNode& node) {
  seen_.erase(node.id());
  std::erase_if(reads_, [&](const auto& read) { return read.first.first == node.id(); });
  std::erase_if(undecided_, [&](const auto& proposal) { return proposal.second == node.id(); });
  OnDiskChange();
}

void SafetyChecker::OnStart(const SimNode& node) {
  // Votes told before the crash bind it still.
  const auto vote = votes_.find({node.id(), node.core().term()});
  Require(vote == votes_.end() || vote->second == node.core().vote(), node, "forgot its vote");
  seen_[node.id()] = {};
  AfterInput(node);
}

void SafetyChecker::OnProposed(const SimNode& node, LogPosition first,
                               const std::vector<Payload>& payloads) {
  for (size_t i = 0; i < payloads.size(); ++i) {
    const LogPosition position{first.index + i, first.term};
    proposals_[position] = undecided_[position] = node.id();
    Require(node.core().log().Contains(position), node, "a proposal is not in the log");
  }
}

void SafetyChecker::OnReadAsked(const SimNode& node, ReadToken token) {
  Require(reads_.emplace(std::pair(node.id(), token), committed()).second, node,
          "a read token was used twice");
}

void SafetyChecker::AnswerRead(const SimNode& node, ReadToken token, const Index* index) {
  const auto read = reads_.find({node.id(), token});
  Require(read != reads_.end(), node, "answered a read twice, or one that was not asked");
  if (index != nullptr) {
    // Linearizable: it sees all that anyone can have been told of before it was asked.
    Require(*index >= read->second, node,
            "a read at " + std::to_string(index->value()) + ", asked when " +
                std::to_string(read->second.value()) + " was committed");
    Require(*index <= committed(), node, "a read of what is not committed");
    ++reads_served_;
  }
  reads_.erase(read);
}

void SafetyChecker::CheckAllIsSettled(const Membership& members) const {
  if (!reads_.empty()) throw SafetyViolation("a read was never answered");
  for (const auto& [position, node] : undecided_) {
    if (position.index <= committed() && At(position.index).entry.term == position.term) continue;
    if (!members.Contains(node)) continue;
    throw SafetyViolation("node " + std::to_string(node.value()) +
                          " never learns that its proposal is lost, " + Str(position));
  }
}

}  // namespace raftkv::raft
