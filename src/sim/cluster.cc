#include "sim/cluster.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "sim/host.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kMillisecond = 1000;
constexpr uint64_t kEpochUs = 1'700'000'000ull * 1'000'000;  // what the clocks start at

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdull;
}

Membership FirstMembers(const Plan& plan) {
  Membership members;
  for (size_t i = 1; i <= plan.nodes; ++i) members.voters.insert(NodeId(i));
  return members;
}

}  // namespace

void RunSummary::Add(const RunSummary& other) {
  hash = Mix(hash, other.hash);
  steps += other.steps;
  micros += other.micros;
  restarts += other.restarts;
  refused += other.refused;
  healed += other.healed;
  disk_operations += other.disk_operations;
  messages += other.messages;
  committed += other.committed;
  acknowledged += other.acknowledged;
  leaders += other.leaders;
  snapshots += other.snapshots;
  configs += other.configs;
  hashes_compared += other.hashes_compared;
  for (size_t i = 0; i < kFaultKinds; ++i) faults[i] += other.faults[i];
}

std::string ToString(const RunSummary& summary) {
  char text[512];
  std::snprintf(text, sizeof(text),
                "simulated hours %.3f, steps %llu, disk operations %llu, messages %llu\n"
                "entries committed %llu, answers checked %llu, leaders %llu, state hashes "
                "compared %llu\nrestarts %llu, starts refused after a harsh loss %llu, healed "
                "after a loss %llu, snapshots "
                "%llu, configurations %llu\nfaults:",
                static_cast<double>(summary.micros) / 3.6e9,
                static_cast<unsigned long long>(summary.steps),
                static_cast<unsigned long long>(summary.disk_operations),
                static_cast<unsigned long long>(summary.messages),
                static_cast<unsigned long long>(summary.committed),
                static_cast<unsigned long long>(summary.acknowledged),
                static_cast<unsigned long long>(summary.leaders),
                static_cast<unsigned long long>(summary.hashes_compared),
                static_cast<unsigned long long>(summary.restarts),
                static_cast<unsigned long long>(summary.refused),
                static_cast<unsigned long long>(summary.healed),
                static_cast<unsigned long long>(summary.snapshots),
                static_cast<unsigned long long>(summary.configs));
  std::string all = text;
  for (size_t i = 0; i < kFaultKinds; ++i) {
    all += " " + std::string(FaultName(static_cast<Fault>(i))) + " " +
           std::to_string(summary.faults[i]);
  }
  return all;
}

Cluster::Cluster(const Plan& plan, bool trace)
    : plan_(plan),
      trace_(trace),
      rng_(plan.seed),
      first_members_(FirstMembers(plan)),
      checker_(first_members_) {
  SeedRocksDb(static_cast<uint32_t>(rng_.Next()));
  for (size_t i = 0; i < kFaultKinds; ++i) {
    fault_rngs_.emplace_back(plan.seed * 1000003 + i);
  }
  for (size_t i = 1; i <= plan.nodes + plan.spares; ++i) {
    const NodeId id(i);
    hosts_.push_back(std::make_unique<Host>(id, plan.node, rng_.Next(), &checker_));
    Host* const host = hosts_.back().get();
    host->tick_us = plan.tick_us;
    if (const uint64_t skew = plan.of(Fault::kSkew); skew > 0) {
      Rng& rng = RngOf(Fault::kSkew);
      host->tick_us = plan.tick_us * (100 - skew + rng.Below(2 * skew + 1)) / 100;
      Happened(Fault::kSkew);
    }
  }
}

Cluster::~Cluster() = default;

RunSummary Cluster::Run() {
  for (const auto& host : hosts_) Start(host.get());
  StartClients();
  ScheduleFaults();
  while (summary_.steps < plan_.steps) StepOnce();
  Heal();
  Converge();
  CheckQuiet();
  return summary();
}

RunSummary Cluster::summary() const {
  RunSummary summary = summary_;
  summary.micros = now_;
  summary.committed = checker_.committed().value();
  summary.acknowledged = checker_.acknowledged();
  summary.hashes_compared = checker_.hashes_compared();
  summary.leaders = checker_.leaders();
  for (const auto& host : hosts_) {
    summary.disk_operations += host->node.disk().trace().operations;
    summary.hash = Mix(summary.hash, host->node.disk().trace().hash);
  }
  return summary;
}

void Cluster::Trace(const std::string& event) const {
  if (trace_) std::printf("%12.6f %s\n", static_cast<double>(now_) / 1e6, event.c_str());
}

// --- Time -------------------------------------------------------------------------------------

void Cluster::At(uint64_t delay_us, std::function<void()> run) {
  events_.push({now_ + delay_us, ++last_event_, std::move(run)});
}

void Cluster::StepOnce() {
  RAFTKV_CHECK(!events_.empty(), "a cluster always has something to do");
  const Event event = events_.top();
  events_.pop();
  now_ = event.time;
  ++summary_.steps;
  summary_.hash = Mix(summary_.hash, event.time);
  event.run();
}

void Cluster::On(Host* host, uint64_t delay_us, std::function<void()> run) {
  At(delay_us, [this, host, epoch = host->epoch, run = std::move(run)]() mutable {
    if (host->epoch != epoch || !host->node.up()) return;
    if (host->paused_until > now_) {
      On(host, host->paused_until - now_, std::move(run));
      return;
    }
    Do(host, run);
  });
}

// Runs something on a node that is up, and what follows from it.
void Cluster::Do(Host* host, const std::function<void()>& run) {
  host->node.clock().micros = kEpochUs + now_ + static_cast<uint64_t>(host->clock_offset_us);
  try {
    run();
    if (host->node.disk().dead()) {
      // The power went in the middle of it, but nobody has noticed.
      Ended(host, "power loss");
      return;
    }
    Collect(host);
  } catch (const DiskFailed& error) {
    Ended(host, error.what());
  } catch (const ProcessEnd& error) {
    Ended(host, error);
  }
}

// --- Nodes ------------------------------------------------------------------------------------

Cluster::Host* Cluster::HostOf(NodeId id) {
  return id.none() || id.value() > hosts_.size() ? nullptr : hosts_[id.value() - 1].get();
}

Cluster::Host* Cluster::Leader() {
  Host* leader = nullptr;
  for (const auto& host : hosts_) {
    if (!host->node.up() || host->node.core().role() != raft::Role::kLeader) continue;
    if (leader == nullptr || host->node.core().term() > leader->node.core().term()) {
      leader = host.get();
    }
  }
  return leader;
}

void Cluster::Start(Host* host) {
  if (host->lost || host->node.up()) return;
  host->node.clock().micros = kEpochUs + now_ + static_cast<uint64_t>(host->clock_offset_us);
  const Membership none;
  const bool member = first_members_.Contains(host->node.id());
  // Starts are seldom, too, and what one leaves half done is the next one's to understand.
  if (plan_.of(Fault::kMidIo) > 0 && !calm_ && RngOf(Fault::kMidIo).Percent(20)) {
    Happened(Fault::kMidIo);
    host->node.disk().KillAfter(RngOf(Fault::kMidIo).Below(100));
  }
  Status status;
  try {
    status = host->node.Start(member ? first_members_ : none);
  } catch (const ProcessEnd& error) {
    if (error.of_core()) Ended(host, error);
    status = Status(Code::kInternal, error.what());
  }
  ++summary_.restarts;
  if (!status.ok()) {
    const bool by_fault = FailedByFault(*host);
    // Damage is refused, by a node that says so: it does not stumble over it.
    const bool is_refusal = status.code() == Code::kCorruption || status.code() == Code::kIoError;
    if (!by_fault && (!host->at_risk || host->must_start || !is_refusal)) {
      throw Crashed("node " + std::to_string(host->node.id().value()) +
                    " refuses to start: " + status.ToString());
    }
    if (!by_fault) {
      Trace("node " + std::to_string(host->node.id().value()) + " lost: " + status.message());
      ++summary_.refused;
      host->lost = true;
      return;
    }
    Ended(host, status.message());
    return;
  }
  if (host->must_refuse) {
    throw Violation("node " + std::to_string(host->node.id().value()) +
                    " starts, although its database has no CURRENT");
  }
  Trace("node " + std::to_string(host->node.id().value()) + " starts: term " +
        std::to_string(host->node.core().term().value()) + " log to " +
        std::to_string(host->node.core().last_index().value()) + " applied " +
        std::to_string(host->node.core().applied().value()));
  host->was_short = host->was_short || host->node.core().acknowledged().lost();
  if (host->node.core().acknowledged().lost() && !host->damaged) {
    throw Violation("node " + std::to_string(host->node.id().value()) +
                    " believes that it lost what it acknowledged, but it has not");
  }
  host->must_start = false;
  ScheduleTick(host);
  Maintain(host);
  Do(host, [] {});
}

// Takes a node down, for some time.
void Cluster::Crash(Host* host, CrashKind kind, uint64_t down_us) {
  Trace("node " + std::to_string(host->node.id().value()) + " crashes");
  host->node.Crash(kind);
  ++host->epoch;
  host->paused_until = 0;
  host->disk_failed = false;
  host->log_scheduled = host->apply_scheduled = false;
  host->report_scheduled = host->background_scheduled = false;
  At(down_us, [this, host, epoch = host->epoch] {
    if (host->epoch == epoch) Start(host);
  });
}

bool Cluster::FailedByFault(const Host& host) const {
  const SimDisk& disk = host.node.disk();
  return host.disk_failed || disk.was_full() || disk.power_failed();
}

void Cluster::Ended(Host* host, const ProcessEnd& end) {
  if (end.of_core()) {
    throw Crashed("node " + std::to_string(host->node.id().value()) + " ended: " + end.what());
  }
  Ended(host, std::string(end.what()));
}

// A node's process ended by itself, or the power went while it did something.
void Cluster::Ended(Host* host, const std::string& why) {
  Trace("node " + std::to_string(host->node.id().value()) + " ends: " + why);
  const bool by_power = host->node.disk().power_failed();
  if (!by_power && host->damaged) {
    ++summary_.refused;
    Crash(host, CrashKind::kProcess, 0);
    host->lost = true;
    return;
  }
  if (!FailedByFault(*host)) {
    throw Crashed("node " + std::to_string(host->node.id().value()) + " ended: " + why);
  }
  // After a failed disk operation the process ends and the machine goes on, or not.
  const bool machine_goes_on = !by_power && rng_.Percent(50);
  const CrashKind kind = machine_goes_on ? CrashKind::kProcess : CrashKind::kPower;
  Crash(host, kind, rng_.Between(10 * kMillisecond, 3000 * kMillisecond));
}

void Cluster::ScheduleTick(Host* host) {
  On(host, host->tick_us, [this, host] {
    host->node.Tick();
    ScheduleTick(host);
  });
}

void Cluster::Maintain(Host* host) {
  if (plan_.flush_every_us > 0) {
    On(host, rng_.Between(1, 2 * plan_.flush_every_us), [this, host] {
      if (rng_.Percent(60)) host->node.FlushKv();
      if (plan_.cuts_log && rng_.Percent(60)) host->node.CutLog();
      host->node.DeleteLeftovers();
      if (plan_.of(Fault::kLostTail) > 0 && rng_.Percent(30)) {
        host->copy = host->node.disk().CopyOf(SimNode::kDatabase);
      }
      Maintain(host);
    });
  }
}

// What a node has left for others to do.
void Cluster::Collect(Host* host) {
  for (raft::Message& message : host->node.TakeOutbox()) Send(std::move(message));
  for (Answer& answer : host->node.TakeAnswers()) {
    At(Latency(), [this, answer = std::move(answer)] {
      const auto it = requests_.find(answer.request);
      if (it == requests_.end()) return;
      Client* const client = it->second;
      requests_.erase(it);
      TakeAnswer(client, answer);
    });
  }
  for (const NodeId to : host->node.TakeSnapshotsWanted()) SendSnapshot(host, to);
  ScheduleWork(host);
}

void Cluster::ScheduleWork(Host* host) {
  const auto schedule = [&](bool wanted, bool* scheduled, uint64_t delay_us,
                            std::function<void()> run) {
    if (!wanted || *scheduled) return;
    *scheduled = true;
    On(host, delay_us, [scheduled, run = std::move(run)] {
      *scheduled = false;
      run();
    });
  };
  SimNode* const node = &host->node;
  uint64_t disk_us = rng_.Percent(5) ? rng_.Below(50 * kMillisecond) : rng_.Below(2000);
  if (now_ < host->slow_until) disk_us = RngOf(Fault::kSlowDisk).Below(3000 * kMillisecond);
  schedule(node->HasLogWork(), &host->log_scheduled, disk_us, [this, host, node] {
    if (!node->HasLogWork()) return;
    // Such writes are seldom, so that the power must be made to go just then.
    if (plan_.of(Fault::kMidIo) > 0 && !calm_ && node->HasRemovalWork() &&
        RngOf(Fault::kMidIo).Percent(50)) {
      Happened(Fault::kMidIo);
      host->node.disk().KillAfter(RngOf(Fault::kMidIo).Below(10));
    }
    node->WriteLog();
  });
  schedule(node->HasApplyWork(), &host->apply_scheduled, rng_.Below(1000), [this, node] {
    if (!node->HasApplyWork()) return;
    node->Apply();
    if (node->disk().dead()) return;
    if (node->store().applied().position.index.value() % 64 == 0) checker_.CompareHash(*node);
  });
  schedule(node->HasReports(), &host->report_scheduled, rng_.Below(500), [node] {
    if (node->HasReports()) node->Report();
  });
  schedule(node->HasBackgroundWork(), &host->background_scheduled, rng_.Below(20 * kMillisecond),
           [node] { node->RunBackgroundWork(); });
}

}  // namespace raftkv::sim
