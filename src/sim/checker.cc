#include "sim/checker.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/membership_codec.h"
#include "store/command.h"

namespace raftkv::sim {
namespace {

std::string Text(LogPosition position) {
  return std::to_string(position.index.value()) + "@" + std::to_string(position.term.value());
}

std::string Text(const std::optional<std::string>& value) { return value ? *value : "nothing"; }

// What applying an entry came to, in a form to compare. What a transaction read is left out: it is
// read where somebody wants to know.
std::string Describe(const store::ApplyResult& result) {
  std::string text = result.status.ToString() + (result.from_session ? " repeated " : " ");
  std::visit(
      [&text](auto response) {
        if constexpr (requires { response.clear_responses(); }) response.clear_responses();
        if constexpr (requires { response.SerializeAsString(); }) {
          text += response.SerializeAsString();
        }
      },
      result.response);
  return text;
}

bool Majority(const std::set<NodeId>& members, const std::set<NodeId>& with) {
  const auto n =
      std::count_if(members.begin(), members.end(), [&](NodeId id) { return with.contains(id); });
  return 2 * static_cast<size_t>(n) > members.size();
}

}  // namespace

// --- The shadow of a disk ---------------------------------------------------------------------

bool Shadow::Holds(LogPosition position) const {
  if (position.index <= before_first.index) return true;  // committed, applied, and cut
  if (position.index > last()) return false;
  return terms[position.index - before_first.index - 1] == position.term;
}

void Shadow::CarryOut(const raft::AppendTask& task) {
  if (task.install) {
    before_first = task.install->last;
    terms.clear();
  }
  if (task.cut && task.cut->before_first.index > before_first.index) {
    const uint64_t n = task.cut->before_first.index - before_first.index;
    terms.erase(terms.begin(),
                terms.begin() + static_cast<long>(std::min<uint64_t>(n, terms.size())));
    before_first = task.cut->before_first;
  }
  if (!task.truncate_from.none() && task.truncate_from <= last()) {
    terms.resize(task.truncate_from - before_first.index - 1);
  }
  for (const Entry& entry : task.entries) terms.push_back(entry.term);
  if (task.hard_state) hard = *task.hard_state;
}

std::string Shadow::ToString() const {
  std::string text = "term " + std::to_string(hard.term.value()) + " vote " +
                     std::to_string(hard.vote.value()) + " commit " +
                     std::to_string(hard.commit.value()) + " log after " + Text(before_first) +
                     " to " + std::to_string(last().value());
  if (!terms.empty()) text += "@" + std::to_string(terms.back().value());
  return text;
}

void Checker::Fail(const SimNode& node, const std::string& what) const {
  throw Violation("node " + std::to_string(node.id().value()) + ": " + what);
}

void Checker::OnRecovered(const SimNode& node, const wal::RecoveredLog& log,
                          const store::AppliedRecord& applied) {
  Shadow found;
  found.hard = log.hard_state;
  found.before_first = log.before_first;
  for (size_t i = 0; i < log.terms.size(); ++i) {
    const Index end = i + 1 < log.terms.size() ? log.terms[i + 1].first : log.last + 1;
    found.terms.insert(found.terms.end(), end - log.terms[i].first, log.terms[i].term);
  }
  commit_seen_.erase(node.id());
  const auto known = shadows_.find(node.id());
  // Where its disk was damaged, the node is about to find that out itself, and must not start.
  if (known != shadows_.end() && applied.position.index > log.last) {
    Fail(node, "the applied state is ahead of the log");
  }
  if (known != shadows_.end() && found != known->second) {
    Shadow with_batch = known->second;
    for (const raft::AppendTask& task : writing_[node.id()]) with_batch.CarryOut(task);
    if (found != with_batch) {
      Fail(node, "the start found another log than was synced. Synced: " +
                     known->second.ToString() + ". Found: " + found.ToString() +
                     (writing_[node.id()].empty() ? "" : ". Or: " + with_batch.ToString()));
    }
  }
  writing_[node.id()].clear();
  shadows_[node.id()] = std::move(found);
  if (applied.position.index > committed()) Fail(node, "what was never committed is applied");
}

void Checker::CheckHardState(const SimNode& node, const HardState& before,
                             const HardState& after) const {
  if (after.term < before.term) Fail(node, "the durable term went back");
  if (after.term == before.term && !before.vote.none() && after.vote != before.vote) {
    Fail(node, "the durable vote changed within a term");
  }
  if (after.commit < before.commit) Fail(node, "the durable commit index went back");
}

void Checker::OnWriting(const SimNode& node, const std::vector<raft::AppendTask>& tasks) {
  writing_[node.id()] = tasks;
}

void Checker::OnSynced(const SimNode& node, const Status& durable) {
  std::vector<raft::AppendTask> tasks = std::exchange(writing_[node.id()], {});
  if (!durable.ok()) Fail(node, durable.message());
  Shadow& shadow = shadows_[node.id()];
  for (const raft::AppendTask& task : tasks) {
    const HardState before = shadow.hard;
    CheckTruncation(node, task);
    shadow.CarryOut(task);
    CheckHardState(node, before, shadow.hard);
    MatchLogs(node, task);
  }
}

// No committed entry goes, but for a snapshot that holds it, or a cut behind what is applied. The
// leader that overwrites has all that was committed in terms up to its own; a later one may have
// committed what it does not know of, on other nodes (paper, figure 8).
void Checker::CheckTruncation(const SimNode& node, const raft::AppendTask& task) const {
  if (task.install || task.truncate_from.none() || task.truncate_from > committed()) return;
  const Shadow& shadow = shadows_.at(node.id());
  if (task.truncate_from > shadow.last()) return;
  const auto later = committed_in_.upper_bound(shadow.hard.term);
  if (later == committed_in_.begin()) return;
  if (std::prev(later)->second.index < task.truncate_from) return;
  const LogPosition position{task.truncate_from, ghost_[task.truncate_from.value() - 1].term};
  if (shadow.Holds(position)) Fail(node, "removes the committed entry " + Text(position));
}

// Log Matching (paper, figure 3): an index and a term say what the entry is, and what is before it.
void Checker::MatchLogs(const SimNode& node, const raft::AppendTask& task) {
  if (task.entries.empty()) return;
  const Shadow& shadow = shadows_.at(node.id());
  for (const Entry& entry : task.entries) {
    const uint64_t at = entry.index.value() - shadow.before_first.index.value() - 1;
    const Term before = at == 0 ? shadow.before_first.term : shadow.terms[at - 1];
    const size_t hash =
        std::hash<std::string_view>()(entry.bytes()) + static_cast<size_t>(entry.kind);
    const auto [known, first] =
        stored_entries_.try_emplace({entry.index, entry.term}, before, hash);
    if (!first && known->second != std::pair(before, hash)) {
      Fail(node,
           "stores another entry, or behind another, than elsewhere as " + Text(entry.position()));
    }
  }
}

void Checker::OnDamaged(NodeId node) {
  promised_[node].push_back(shadows_[node]);
  shadows_.erase(node);
  writing_.erase(node);
}

// --- Raft's promises --------------------------------------------------------------------------

void Checker::OnSend(const SimNode& node, const raft::Message& message) {
  const Shadow& shadow = shadows_.at(node.id());
  if (const auto* vote = std::get_if<raft::VoteResponse>(&message.body);
      vote != nullptr && vote->granted && !vote->pre_vote) {
    const auto [it, first] = votes_.try_emplace({node.id(), message.term}, message.to);
    if (!first && it->second != message.to) Fail(node, "voted twice in a term");
    const bool durable = shadow.hard.term > message.term ||
                         (shadow.hard.term == message.term && shadow.hard.vote == message.to);
    if (!durable) Fail(node, "a vote left before it was on disk");
  }
  if (const auto* append = std::get_if<raft::AppendResponse>(&message.body);
      append != nullptr && !append->rejected) {
    if (message.term > shadow.hard.term) {
      Fail(node, "acknowledged in term " + std::to_string(message.term.value()) + ", on disk is " +
                     shadow.ToString());
    }
    if (message.term == shadow.hard.term && append->match > shadow.last()) {
      Fail(node, "acknowledged up to " + std::to_string(append->match.value()) + ", on disk is " +
                     shadow.ToString());
    }
  }
}

void Checker::CheckLeader(const SimNode& node) {
  const raft::Core& core = node.core();
  const auto [it, first] = leaders_.try_emplace(core.term(), node.id());
  if (it->second != node.id()) {
    Fail(node, "a second leader of term " + std::to_string(core.term().value()));
  }
  if (!first) return;
  // What was committed in an earlier term (paper, 5.4.3). One that is slow to hear of its votes may
  // begin to lead when a later leader has committed more; that can't harm anybody any more.
  auto before = committed_in_.lower_bound(core.term());
  if (before == committed_in_.begin()) return;
  const LogPosition newest = (--before)->second;
  if (core.log().before_first().index < newest.index && !core.log().Contains(newest)) {
    Fail(node, "leads without the committed entry " + Text(newest));
  }
}

// One that is committed by now is what the log says there.
void Checker::CheckConfig(const SimNode& node) const {
  const raft::Core& core = node.core();
  const Index index = core.config_index();
  if (index.none() || index > core.commit() || index > committed()) return;
  const auto known = configs_.find(index);
  if (known == configs_.end() || known->second != core.membership()) {
    Fail(node, "a configuration is in force that is not in the log: of entry " +
                   std::to_string(index.value()));
  }
}

void Checker::AfterInput(const SimNode& node) {
  const raft::Core& core = node.core();
  CheckConfig(node);
  if (core.role() == raft::Role::kLeader) CheckLeader(node);
  // At once, on the leader that commits it: a later configuration has other quorums.
  if (core.commit() > stored_) {
    stored_ = core.commit();
    // What is older may be on a majority and still be overwritten (paper, figure 8).
    if (core.role() == raft::Role::kLeader && core.log().TermAt(stored_) != core.term()) {
      Fail(node, "committed an entry of an earlier term by counting");
    }
    const LogPosition position{stored_, core.log().TermAt(stored_).value_or(Term())};
    CheckStoredByQuorum(node, position);
    committed_in_[core.term()] = position;
  }
  Index& commit = commit_seen_[node.id()];
  if (core.commit() < commit) Fail(node, "the commit index went back");
  commit = core.commit();
}

void Checker::OnOutput(const SimNode& node, const raft::Output& output) {
  if (!output.apply) return;
  for (const Entry& entry : output.apply->entries) Learn(node, entry);
}

// An entry that a node takes for committed.
void Checker::Learn(const SimNode& node, const Entry& entry) {
  const uint64_t at = entry.index.value() - 1;
  if (at > ghost_.size()) Fail(node, "committed beyond what any node has committed before");
  if (at == ghost_.size()) {
    if (entry.index > stored_) Fail(node, "takes for committed what no leader has committed");
    ghost_.push_back({entry.term, entry.kind, std::string(entry.bytes()), std::nullopt});
    if (entry.kind == EntryKind::kConfig) {
      const StatusOr<Membership> membership = DecodeMembership(entry.bytes());
      CheckOverlap(node, membership.value());
      configs_[entry.index] = *membership;
    }
    return;
  }
  const GhostEntry& known = ghost_[at];
  if (known.term != entry.term || known.kind != entry.kind || known.bytes != entry.bytes()) {
    Fail(node, "another entry is committed at " + Text(entry.position()) + ", known is term " +
                   std::to_string(known.term.value()));
  }
}

void Checker::CheckStoredByQuorum(const SimNode& node, LogPosition position) const {
  std::set<NodeId> with;
  for (const auto& [id, shadow] : shadows_) {
    if (shadow.Holds(position)) with.insert(id);
  }
  // Its votes are bound by what it promised (docs/durability.md).
  for (const auto& [id, shadows] : promised_) {
    for (const Shadow& shadow : shadows) {
      if (shadow.Holds(position)) with.insert(id);
    }
  }
  const Membership& membership = node.core().membership();
  if (!Majority(membership.voters, with) ||
      (membership.IsJoint() && !Majority(membership.outgoing, with))) {
    Fail(node, "the entry " + Text(position) + " is committed, but only " +
                   std::to_string(with.size()) + " disks have it");
  }
}

// Of two configurations that follow each other any two quorums share a node: then the voters of one
// differ from those of the other by one at most, or one of them is joint and holds the other's.
void Checker::CheckOverlap(const SimNode& node, const Membership& next) {
  const Membership& before = configs_.rbegin()->second;
  std::set<NodeId> differ;
  std::set_symmetric_difference(before.voters.begin(), before.voters.end(), next.voters.begin(),
                                next.voters.end(), std::inserter(differ, differ.end()));
  const bool overlap = differ.size() <= 1 || (next.IsJoint() && next.outgoing == before.voters) ||
                       (before.IsJoint() && before.voters == next.voters);
  if (!overlap) Fail(node, "two configurations in a row have quorums that do not meet");
}

// --- The state machine ------------------------------------------------------------------------

void Checker::OnApplied(const SimNode& node, const Entry& entry, const store::ApplyResult& result) {
  Learn(node, entry);
  GhostEntry& ghost = ghost_[entry.index.value() - 1];
  const std::string text = Describe(result);
  if (ghost.result) {
    if (*ghost.result != text) {
      Fail(node, "applying " + Text(entry.position()) + " came to something else than elsewhere");
    }
    return;
  }
  ghost.result = text;
  if (entry.kind != EntryKind::kCommand || !result.status.ok() || result.from_session) return;
  const StatusOr<store::Command> command = store::DecodeCommand(entry.bytes());
  std::string key;
  Change change;
  if (const auto* put = std::get_if<etcdserverpb::PutResponse>(&result.response)) {
    etcdserverpb::PutRequest request;
    request.ParseFromString(std::string(command->body));
    key = request.key();
    change = {put->header().revision(), request.value()};
  } else if (const auto* txn = std::get_if<etcdserverpb::TxnResponse>(&result.response)) {
    etcdserverpb::TxnRequest request;
    request.ParseFromString(std::string(command->body));
    key = request.compare(0).key();
    const auto before = ValueAt(key, newest_revision_);
    if (txn->succeeded() != (before == request.compare(0).value())) {
      Fail(node, "a transaction was decided as if " + key + " was not " + Text(before));
    }
    if (!txn->succeeded()) return;
    change = {txn->header().revision(), request.success(0).request_put().value()};
  } else if (const auto* removed =
                 std::get_if<etcdserverpb::DeleteRangeResponse>(&result.response)) {
    etcdserverpb::DeleteRangeRequest request;
    request.ParseFromString(std::string(command->body));
    key = request.key();
    change.revision = removed->header().revision();
    if (removed->deleted() == 0) return;
  } else {
    return;
  }
  if (change.value) {
    if (!applied_values_.try_emplace(*change.value, entry.index).second) {
      Fail(node, "the value " + *change.value + " was applied twice");
    }
    if (never_applied_.contains(*change.value)) {
      Fail(node, "the value " + *change.value + " was applied after it was called dropped");
    }
  }
  if (change.revision <= newest_revision_) Fail(node, "a write did not raise the revision");
  newest_revision_ = change.revision;
  keys_[key].push_back(std::move(change));
}

void Checker::OnInstalled(const SimNode& node, const store::AppliedRecord& applied) {
  if (applied.position.index > committed()) Fail(node, "a snapshot holds what is not committed");
  const GhostEntry& ghost = ghost_[applied.position.index.value() - 1];
  if (ghost.term != applied.position.term) Fail(node, "a snapshot is of another log");
}

void Checker::NeverApplied(const std::string& value) {
  if (applied_values_.contains(value)) {
    throw Violation("the value " + value + " was called dropped, but had been applied");
  }
  never_applied_.insert(value);
}

std::optional<std::string> Checker::ValueAt(const std::string& key, int64_t revision) const {
  const auto changes = keys_.find(key);
  if (changes == keys_.end()) return std::nullopt;
  for (auto change = changes->second.rbegin(); change != changes->second.rend(); ++change) {
    if (change->revision <= revision) return change->value;
  }
  return std::nullopt;
}

void Checker::OnFinished(const Finished& operation) {
  ++acknowledged_;
  const std::string who = std::string(operation.is_read ? "the read of " : "the write of ") +
                          operation.key + " by node " + std::to_string(operation.node);
  if (operation.revision < operation.floor) {
    throw Violation(who + " was answered at revision " + std::to_string(operation.revision) +
                    ", but revision " + std::to_string(operation.floor) +
                    " had been answered before it was asked");
  }
  if (operation.revision > newest_revision_) {
    throw Violation(who + " was answered at a revision that does not exist yet");
  }
  const std::optional<std::string> value = ValueAt(operation.key, operation.revision);
  if (value != operation.value) {
    throw Violation(who + " at revision " + std::to_string(operation.revision) + " says " +
                    Text(operation.value) + ", the log " + Text(value));
  }
}

void Checker::CheckState(const SimNode& node) const {
  for (const auto& [key, changes] : keys_) {
    etcdserverpb::RangeRequest request;
    request.set_key(key);
    const auto response = node.store().Range(request);
    if (!response.ok()) throw DiskFailed("can't read " + key + ": " + response.status().message());
    std::optional<std::string> value;
    if (response->kvs_size() > 0) value = response->kvs(0).value();
    const auto expected = ValueAt(key, response->header().revision());
    if (value != expected) {
      Fail(node, key + " is " + Text(value) + ", by the log it is " + Text(expected));
    }
  }
}

void Checker::CheckLog(const SimNode& node) const {
  const raft::RaftLog& log = node.core().log();
  std::vector<Entry> entries;
  while (log.first() + entries.size() <= log.last()) {
    const Status status = node.ReadLog(log.first() + entries.size(), log.last(), &entries);
    if (!status.ok()) throw DiskFailed("can't read its log: " + status.message());
  }
  for (const Entry& entry : entries) {
    if (entry.index > committed()) break;
    const GhostEntry& ghost = ghost_[entry.index.value() - 1];
    if (ghost.term != entry.term || ghost.kind != entry.kind || ghost.bytes != entry.bytes()) {
      Fail(node, "its disk has another entry than was committed as " + Text(entry.position()));
    }
  }
}

void Checker::CompareHash(const SimNode& node) {
  const Index index = node.store().applied().position.index;
  const auto hash = node.store().HashAt(0, [] { return false; });
  if (!hash.ok()) throw DiskFailed("can't hash its state: " + hash.status().message());
  const auto records = node.HashRecords();
  if (!records.ok()) throw DiskFailed("can't hash its state: " + records.status().message());
  const StateHash state{hash->hash, hash->revision, *records};
  const auto [it, first] = hashes_.try_emplace(index, state);
  if (first) return;
  ++hashes_compared_;
  if (it->second != state) {
    Fail(node,
         "has another state at index " + std::to_string(index.value()) + " than another node");
  }
}

}  // namespace raftkv::sim
