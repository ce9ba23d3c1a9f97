#include "raft/random_run.h"

#include <algorithm>
#include <iostream>
#include <variant>

namespace raftkv::raft {
namespace {

template <typename T>
T OneOf(Rng* rng, std::initializer_list<T> values) {
  return *(values.begin() + rng->Below(values.size()));
}

}  // namespace

void RunSummary::Add(const RunSummary& other) {
  leaders += other.leaders;
  proposed += other.proposed;
  committed += other.committed;
  dropped += other.dropped;
  reads_served += other.reads_served;
  crashes += other.crashes;
  losses += other.losses;
  cuts += other.cuts;
  snapshots += other.snapshots;
  configs += other.configs;
  configs_overwritten += other.configs_overwritten;
}

RandomRun::RandomRun(uint64_t seed, size_t voters, size_t spares, bool lossy, bool trace)
    : rng_(seed), trace_(trace) {
  ChooseWeather();
  if (spares == 0) weather_.config = 0;
  if (lossy) {
    weather_.lose = OneOf<uint64_t>(&rng_, {20, 80});
    weather_.crash = std::max<uint64_t>(weather_.crash, 5);
  }
  options_ = ChooseOptions();
  options_.defer_commit = seed % 2 == 1;
  Membership membership;
  for (uint64_t id = 1; id <= voters; ++id) membership.voters.insert(NodeId(id));
  LogPosition start;
  if (rng_.Percent(25)) start = {Index(rng_.Between(1, 20)), Term(rng_.Between(1, 5))};
  for (uint64_t id = 1; id <= voters + spares; ++id) {
    Options options = options_;
    options.id = NodeId(id);
    nodes_.push_back(std::make_unique<SimNode>(
        options, id <= voters ? SimDisk(membership, start) : SimDisk(Membership())));
    flushed_.push_back(nodes_.back()->disk().start().index);
  }
  checker_ = std::make_unique<SafetyChecker>(nodes_);
}

void RandomRun::ChooseWeather() {
  weather_.drop = OneOf<uint64_t>(&rng_, {0, 1, 5, 20});
  weather_.duplicate = OneOf<uint64_t>(&rng_, {0, 2, 10});
  weather_.reorder = OneOf<uint64_t>(&rng_, {0, 10, 60});
  weather_.hold = OneOf<uint64_t>(&rng_, {0, 3, 10});
  weather_.starve = OneOf<uint64_t>(&rng_, {0, 0, 70});
  weather_.delay_output = OneOf<uint64_t>(&rng_, {0, 0, 50});
  weather_.crash = OneOf<uint64_t>(&rng_, {0, 3, 10});
  weather_.partition = OneOf<uint64_t>(&rng_, {0, 3, 10});
  weather_.upheaval = OneOf<uint64_t>(&rng_, {0, 3, 20});
  weather_.cut = OneOf<uint64_t>(&rng_, {0, 5, 20});
  weather_.config = OneOf<uint64_t>(&rng_, {3, 10, 30});
}

Options RandomRun::ChooseOptions() {
  Options options;
  options.election_ticks = static_cast<uint32_t>(rng_.Between(4, 10));
  options.heartbeat_ticks = static_cast<uint32_t>(rng_.Between(1, 2));
  if (rng_.Percent(50)) return options;
  // An entry here is some 40 bytes.
  options.append_bytes_max = OneOf<uint64_t>(&rng_, {1, 100, 300});
  options.append_entries_max = OneOf<uint64_t>(&rng_, {1, 3, 4096});
  options.inflight_messages_max = static_cast<uint32_t>(rng_.Between(1, 3));
  options.inflight_bytes_max = OneOf<uint64_t>(&rng_, {1, 200, 4096});
  options.pending_bytes_max = OneOf<uint64_t>(&rng_, {0, 100, 1000});
  options.apply_bytes_max = OneOf<uint64_t>(&rng_, {1, 100, 300});
  options.cache_bytes_max = OneOf<uint64_t>(&rng_, {0, 100, 300});
  return options;
}

RunSummary RandomRun::Run() {
  for (auto& node : nodes_) Start(*node);
  const uint64_t steps = rng_.Between(500, 5000);
  for (uint64_t i = 0; i < steps; ++i) Act();
  Converge();
  RunSummary summary;
  summary.leaders = checker_->leaders();
  summary.proposed = checker_->proposed();
  summary.committed = checker_->committed() - checker_->start();
  summary.dropped = checker_->dropped();
  summary.reads_served = checker_->reads_served();
  summary.crashes = crashes_;
  summary.losses = losses_;
  summary.cuts = cuts_;
  summary.snapshots = checker_->installs();
  summary.configs = checker_->configs();
  summary.configs_overwritten = checker_->configs_overwritten();
  return summary;
}

// --- Faults and work --------------------------------------------------------------------------

void RandomRun::Act() {
  SimNode& node = *nodes_[rng_.Below(nodes_.size())];
  if (rng_.Below(1000) < weather_.cut) {
    if (node.up()) CutLog(node);
    return;
  }
  if (weather_.config > 0 && rng_.Below(1000) < weather_.config) {
    // Nobody but a leader takes it.
    for (auto& other : nodes_) {
      if (other->up() && other->core().role() == Role::kLeader) ChangeConfig(*other);
    }
    return;
  }
  const uint64_t dice = rng_.Below(1000);
  if (dice < weather_.crash) {
    CrashOrStart(node);
  } else if (dice < weather_.crash + weather_.partition) {
    ChangePartition();
  } else if (dice < weather_.crash + weather_.partition + weather_.upheaval) {
    if (node.up()) Upheaval(node);
  } else if (!network_.empty() && dice < 500) {
    ActOnNetwork();
  } else if (node.up()) {
    ActOnNode(node);
  } else if (rng_.Percent(10)) {
    Start(node);
  }
}

void RandomRun::ActOnNetwork() {
  const size_t place = rng_.Percent(weather_.reorder) ? rng_.Below(network_.size()) : 0;
  Message message = network_[place];
  if (!rng_.Percent(weather_.duplicate)) {
    network_.erase(network_.begin() + static_cast<ptrdiff_t>(place));
  }
  const bool is_append = std::holds_alternative<AppendRequest>(message.body);
  if (rng_.Percent(weather_.drop) || (is_append && rng_.Percent(weather_.starve))) {
    TellSnapshotSent(message, false);
    return;
  }
  // Late answers are what a read of a leader that was replaced could be confirmed by.
  const bool is_answer = std::holds_alternative<HeartbeatResponse>(message.body);
  if (rng_.Percent(is_answer ? 4 * weather_.hold : weather_.hold)) {
    held_.push_back(std::move(message));
  } else if (!cut_.contains({message.from, message.to})) {
    Deliver(std::move(message));
  } else {
    TellSnapshotSent(message, false);
  }
  if (!held_.empty() && rng_.Percent(3)) ReleaseHeld();
}

// Past any partition: it was under way before.
void RandomRun::ReleaseHeld() {
  std::swap(held_[rng_.Below(held_.size())], held_.back());
  Message message = std::move(held_.back());
  held_.pop_back();
  Deliver(std::move(message));
}

void RandomRun::ActOnNode(SimNode& node) {
  const uint64_t dice = rng_.Below(100);
  if (dice < 30) {
    if (node.disk().unsynced() > 0) SyncOne(node);
  } else if (dice < 50) {
    if (node.HasSynced()) {
      node.ReportSynced();
      AfterInput(node);
    }
  } else if (dice < 65) {
    if (node.HasApply()) ApplyOne(node);
  } else if (dice < 80) {
    node.core().Tick();
    if (dice % 2 == 0) node.core().TellCommit();
    AfterInput(node);
  } else if (dice < 90) {
    Propose(node);
  } else if (dice < 95) {
    // Whoever believes that it leads is the one that could answer wrongly.
    SimNode& other = *nodes_[rng_.Below(nodes_.size())];
    Read(other.up() && other.core().role() == Role::kLeader ? other : node);
  } else if (dice < 98) {
    Collect(node);
  } else if (dice < 99) {
    const NodeId target(rng_.Below(nodes_.size() + 1));
    if (node.core().TransferLeadership(target).ok()) AfterInput(node);
  } else {
    node.core().Campaign();
    AfterInput(node);
  }
}

void RandomRun::Propose(SimNode& node) {
  std::vector<Payload> payloads;
  for (uint64_t n = rng_.Between(1, 4); n > 0; --n) {
    payloads.push_back(std::make_shared<const std::string>("p" + std::to_string(++last_payload_)));
  }
  const StatusOr<LogPosition> first = node.core().Propose(payloads);
  if (first.ok()) checker_->OnProposed(node, *first, payloads);
  AfterInput(node);
}

void RandomRun::Read(SimNode& node) {
  const StatusOr<ReadToken> token = node.core().ReadIndex();
  if (token.ok()) checker_->OnReadAsked(node, *token);
  AfterInput(node);
}

void RandomRun::CrashOrStart(SimNode& node) {
  if (!node.up()) {
    Start(node);
    return;
  }
  // Some of what was not synced may have reached the disk all the same.
  const size_t keep = rng_.Percent(50) ? 0 : rng_.Below(node.disk().unsynced() + 1);
  Trace("crash " + std::to_string(node.id().value()) + " keep=" + std::to_string(keep));
  Index& flushed = flushed_[node.id().value() - 1];
  flushed = Index(rng_.Between(flushed.value(), std::max(flushed, node.applied_index()).value()));
  node.Crash(keep);
  ++crashes_;
  if (weather_.lose > 0 && rng_.Percent(weather_.lose)) LoseEntries(node);
  checker_->OnCrash(node);
}

// Of what was acknowledged but not flushed. Everybody else is whole, or the cluster could rightly
// refuse to work on.
void RandomRun::LoseEntries(SimNode& node) {
  for (const auto& other : nodes_) {
    if (other.get() == &node) continue;
    if (!other->disk().IsWhole() || (other->up() && other->core().acknowledged().lost())) return;
  }
  const Index flushed = std::max(flushed_[node.id().value() - 1], node.disk().start().index);
  const Index last(rng_.Between(flushed.value(), node.disk().last().value()));
  if (last == node.disk().last()) return;
  // A note that is so old that the loss is not seen by it can't be helped ("Its limits" in
  // docs/durability.md).
  const Index noted(rng_.Between(last.value() + 1, node.disk().last().value()));
  Trace("lose the log of " + std::to_string(node.id().value()) + " after " +
        std::to_string(last.value()) + ", noted up to " + std::to_string(noted.value()));
  node.disk().Lose(last, noted);
  ++losses_;
}

void RandomRun::Start(SimNode& node) {
  Trace("start " + std::to_string(node.id().value()));
  node.Start(flushed_[node.id().value() - 1], rng_.Next());
  checker_->OnStart(node);
  Collect(node);
}

void RandomRun::ChangePartition() {
  cut_.clear();
  if (rng_.Percent(40)) return;
  const bool one_way = rng_.Percent(40);
  std::vector<bool> side;
  for (size_t i = 0; i < nodes_.size(); ++i) side.push_back(rng_.Percent(50));
  for (const auto& from : nodes_) {
    for (const auto& to : nodes_) {
      const bool left = side[from->id().value() - 1];
      const bool crosses = left != side[to->id().value() - 1];
      if (crosses && (!one_way || left)) cut_.insert({from->id(), to->id()});
    }
  }
  Trace("partition, " + std::to_string(cut_.size()) + " links cut");
}

// Nobody has heard from a leader for a while, and `node` is the first to act on it: leaders change
// faster than they can replicate, as in the paper's figure 8. A leader that is cut off does not
// notice.
void RandomRun::Upheaval(SimNode& node) {
  Trace("upheaval");
  const bool cut_off = weather_.partition > 0 && rng_.Percent(50);
  for (auto& other : nodes_) {
    if (!other->up()) continue;
    if (other->core().role() != Role::kLeader) {
      for (uint32_t i = 0; i < options_.election_ticks; ++i) {
        other->core().Tick();
        AfterInput(*other);
      }
    } else if (cut_off) {
      for (const auto& third : nodes_) {
        cut_.insert({other->id(), third->id()});
        cut_.insert({third->id(), other->id()});
      }
    }
  }
  node.core().Campaign();
  AfterInput(node);
}

// The state machine is flushed, and what it needs no more is cut off. Asking for more than was
// applied must do no harm.
void RandomRun::CutLog(SimNode& node) {
  Index& flushed = flushed_[node.id().value() - 1];
  const Index applied = node.applied_index();
  if (rng_.Percent(50)) {
    flushed = applied;
    node.core().CutLog(applied + rng_.Below(3));
  } else {
    flushed = std::max(flushed, node.disk().start().index);
    flushed = Index(rng_.Between(flushed.value(), std::max(flushed, applied).value()));
    node.core().CutLog(Index(rng_.Between(0, flushed.value())));
  }
  ++cuts_;
  Trace("cut the log of " + std::to_string(node.id().value()));
  AfterInput(node);
}

void RandomRun::ChangeConfig(SimNode& node) {
  Membership target = node.core().membership();
  for (uint64_t n = rng_.Percent(70) ? 1 : rng_.Between(2, 4); n > 0; --n) ChangeOneMember(&target);
  const StatusOr<LogPosition> position = node.core().ProposeConfig(target);
  if (position.ok()) {
    Trace("configuration of " + std::to_string(node.id().value()) + " to be " + ToString(target));
  }
  AfterInput(node);
}

// Mostly back and forth between voter and learner: who is removed does not come back.
void RandomRun::ChangeOneMember(Membership* membership) {
  const NodeId member(rng_.Between(1, nodes_.size()));
  if (membership->removed.contains(member)) return;
  if (!membership->Contains(member)) {
    (rng_.Percent(50) ? membership->learners : membership->voters).insert(member);
  } else if (membership->voters.contains(member)) {
    if (membership->voters.size() == 1) return;
    membership->voters.erase(member);
    if (rng_.Percent(90)) membership->learners.insert(member);
  } else {
    membership->learners.erase(member);
    if (rng_.Percent(90)) membership->voters.insert(member);
  }
}

// --- Plumbing ---------------------------------------------------------------------------------

void RandomRun::AfterInput(SimNode& node) {
  checker_->AfterInput(node);
  if (calm_ || !rng_.Percent(weather_.delay_output)) Collect(node);
}

void RandomRun::Collect(SimNode& node) {
  while (node.core().HasOutput()) {
    const Output output = node.Collect();
    checker_->OnOutput(node, output);
    Post(node, output.send);
    for (const NodeId to : output.snapshots_wanted) SendSnapshot(node, to);
  }
}

void RandomRun::Post(const SimNode& node, const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    checker_->OnSend(node, message);
    const bool lost = cut_.contains({message.from, message.to});
    Trace("  send " + ToString(message) + (lost ? " (lost)" : ""));
    if (!lost) network_.push_back(message);
  }
}

void RandomRun::Deliver(Message message) {
  SimNode& node = *nodes_[message.to.value() - 1];
  if (!node.up()) {
    TellSnapshotSent(message, false);
    return;
  }
  Trace("deliver " + ToString(message));
  node.core().Step(message);
  AfterInput(node);
  TellSnapshotSent(message, true);
}

// Of what the state machine holds now. Its data is what was committed: there is no need to copy it.
void RandomRun::SendSnapshot(SimNode& node, NodeId to) {
  const Index last = node.applied_index();
  if (last < checker_->start()) {
    // A spare node that leads already and has applied nothing yet: it has no state to send.
    node.core().OnSnapshotSent(to, Index());
    return;
  }
  const SnapshotMeta snapshot{checker_->PositionAt(last), checker_->MembershipAt(last),
                              ++last_snapshot_};
  network_.push_back({node.id(), to, node.core().term(), InstallSnapshot{snapshot}});
}

// The sender of a snapshot learns what became of it, if it is still there.
void RandomRun::TellSnapshotSent(const Message& message, bool delivered) {
  const auto* install = std::get_if<InstallSnapshot>(&message.body);
  SimNode& sender = *nodes_[message.from.value() - 1];
  if (install == nullptr || !sender.up()) return;
  sender.core().OnSnapshotSent(message.to, delivered ? install->snapshot.last.index : Index());
  AfterInput(sender);
}

void RandomRun::SyncOne(SimNode& node) {
  Trace("sync " + std::to_string(node.id().value()));
  const std::vector<Message> released = node.SyncNext();
  checker_->OnDiskChange();
  Post(node, released);
}

void RandomRun::ApplyOne(SimNode& node) {
  checker_->OnApplied(node, node.ApplyNext());
  AfterInput(node);
}

void RandomRun::Trace(const std::string& event) const {
  if (trace_) std::cerr << event << "\n";
}

// --- The quiet end ----------------------------------------------------------------------------

// Everything that can happen without time passing happens.
void RandomRun::Settle() {
  constexpr int kRoundsMax = 10000;
  for (int round = 0; round < kRoundsMax; ++round) {
    bool busy = !network_.empty();
    std::vector<Message> messages;
    std::swap(messages, network_);
    for (Message& message : messages) Deliver(std::move(message));
    for (auto& node : nodes_) {
      while (node->disk().unsynced() > 0) {
        busy = true;
        SyncOne(*node);
      }
      if (node->HasSynced()) {
        node->ReportSynced();
        AfterInput(*node);
      }
      while (node->HasApply()) {
        busy = true;
        ApplyOne(*node);
      }
    }
    if (!busy) return;
  }
  throw SafetyViolation("the cluster never comes to rest");
}

SimNode* RandomRun::Leader() const {
  SimNode* leader = nullptr;
  for (const auto& node : nodes_) {
    if (node->core().role() != Role::kLeader) continue;
    if (leader == nullptr || node->core().term() > leader->core().term()) leader = node.get();
  }
  return leader;
}

bool RandomRun::HasConverged() const {
  const SimNode* leader = Leader();
  if (leader == nullptr) return false;
  const Membership& members = leader->core().membership();
  if (members.IsJoint() || !members.IsVoter(leader->id())) return false;
  return std::all_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
    if (!members.Contains(node->id())) return true;
    return node->core().leader() == leader->id() &&
           node->core().applied() == leader->core().last_index() &&
           node->applied_index() == leader->core().last_index();
  });
}

void RandomRun::Converge() {
  Trace("calm");
  calm_ = true;
  cut_.clear();
  network_.insert(network_.end(), held_.begin(), held_.end());  // better late than never
  held_.clear();
  for (auto& node : nodes_) {
    if (!node->up()) Start(*node);
    Collect(*node);
  }
  // A few elections may collide, with timeouts of one to two election timeouts each.
  const uint32_t ticks_max = 30 * options_.election_ticks;
  uint32_t ticks = 0;
  bool proposed = false;
  for (Settle(); !proposed || !HasConverged(); ++ticks) {
    if (ticks == ticks_max) throw SafetyViolation("the cluster does not converge");
    if (!proposed && HasConverged()) {
      // That it agrees is not enough: it must still be able to work.
      const Index before = checker_->committed();
      Propose(*Leader());
      Settle();
      proposed = checker_->committed() > before;
    }
    for (auto& node : nodes_) {
      node->core().Tick();
      AfterInput(*node);
    }
    Settle();
  }
  for (uint32_t i = 0; i < 2 * options_.election_ticks; ++i) {
    for (auto& node : nodes_) {
      node->core().Tick();
      AfterInput(*node);
    }
    Settle();
  }
  checker_->CheckAllIsSettled(Leader()->core().membership());
}

}  // namespace raftkv::raft
