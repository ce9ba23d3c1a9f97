#include "raft/safety_checker.h"

#include <variant>

namespace raftkv::raft {
namespace {

std::string Str(LogPosition position) {
  return "(" + std::to_string(position.index.value()) + "," +
         std::to_string(position.term.value()) + ")";
}

void Require(bool holds, const SimNode& node, const std::string& what) {
  if (!holds) throw SafetyViolation("node " + std::to_string(node.id().value()) + ": " + what);
}

}  // namespace

SafetyChecker::SafetyChecker(const Nodes& nodes)
    : nodes_(nodes), start_(nodes.front()->disk().start()) {}

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
  for (const Committed& committed : committed_) {
    if (committed.in_term >= term) continue;
    Require(node.core().log().Contains(committed.entry.position()), node,
            "leads without the committed entry " + Str(committed.entry.position()));
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
    if (i <= committed()) {
      Require(core.log().TermAt(i) == At(i).entry.term, node,
              "committed another entry than " + Str(At(i).entry.position()));
      continue;
    }
    const Entry entry = EntryOf(node, i);
    Require(core.role() == Role::kLeader, node,
            "a follower was the first to commit " + Str(entry.position()));
    Require(!dropped_.contains(entry.position()), node,
            "committed an entry that was reported as dropped, " + Str(entry.position()));
    committed_.push_back({entry, core.term()});
    for (const auto& other : nodes_) {
      if (!other->up() || other->core().role() != Role::kLeader) continue;
      Require(other->core().term() <= core.term() || other->core().log().Contains(entry.position()),
              *other, "leads without the entry committed just now, " + Str(entry.position()));
    }
  }
  CheckStoredByQuorum(committed());
}

// By Log Matching the last one stands for all before it.
void SafetyChecker::CheckStoredByQuorum(Index index) const {
  if (index <= start_.index) return;
  const Entry& entry = At(index).entry;
  size_t stored = 0;
  for (const auto& node : nodes_) {
    if (node->disk().TermAt(index) == entry.term) ++stored;
  }
  if (stored >= nodes_.size() / 2 + 1) return;
  throw SafetyViolation("the committed entry " + Str(entry.position()) + " is on " +
                        std::to_string(stored) + " disks only");
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
  if (response.match >= start_.index) Require(term.has_value(), node, what + ", not stored");
  for (const auto& leader : nodes_) {
    if (leader->id() != message.to || !leader->up() || leader->core().term() != message.term)
      continue;
    if (leader->core().role() != Role::kLeader) continue;
    Require(leader->core().log().TermAt(response.match) == term, node,
            what + ", another than the leader's");
  }
}

void SafetyChecker::OnApplied(const SimNode& node, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
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

void SafetyChecker::CheckAllIsSettled() const {
  if (!reads_.empty()) throw SafetyViolation("a read was never answered");
  for (const auto& [position, node] : undecided_) {
    if (position.index <= committed() && At(position.index).entry.term == position.term) continue;
    throw SafetyViolation("node " + std::to_string(node.value()) +
                          " never learns that its proposal is lost, " + Str(position));
  }
}

}  // namespace raftkv::raft
