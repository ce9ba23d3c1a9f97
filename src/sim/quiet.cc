// The end of a run: the faults stop, and everyone must come to agree.
#include <algorithm>

#include "sim/host.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kSecond = 1'000'000;

}  // namespace

void Cluster::Heal() {
  Trace("the faults stop");
  calm_ = true;
  cut_.clear();
  isolate_us_ = 0;
  for (const auto& host : hosts_) {
    host->paused_until = 0;
    host->slow_until = 0;
    SimDisk& disk = host->node.disk();
    disk.SetCapacity(0);
    disk.SetFaultHook(nullptr);
    disk.KillAfter(UINT64_MAX);
    if (host->node.up() || host->lost) continue;
    ++host->epoch;  // in place of the start that was planned
    At(0, [this, host = host.get()] { Start(host); });
  }
}

// Everyone who is a member, and up, has applied all there is, under one leader.
bool Cluster::HasConverged() {
  const Host* const leader = Leader();
  if (leader == nullptr) return false;
  const raft::Core& core = leader->node.core();
  if (core.commit() != core.last_index() || core.commit() < checker_.committed()) return false;
  for (const auto& host : hosts_) {
    if (host->lost || !core.membership().Contains(host->node.id())) continue;
    if (!host->node.up()) return false;
    const raft::Core& other = host->node.core();
    if (other.term() != core.term() || other.applied() != core.last_index()) return false;
    // Whoever lost what it had acknowledged has it again, and knows that.
    if (other.acknowledged().lost()) return false;
  }
  return true;
}

// First with the clients at work, who must get answers; then without, to come to rest.
void Cluster::Converge() {
  // The longest election takes two timeouts; lost votes and split ones cost a few more, and a node
  // whose disk failed comes back within seconds.
  const uint64_t elections = 20;
  const uint64_t patience =
      now_ + 30 * kSecond + elections * 2 * plan_.node.raft.election_ticks * 2 * plan_.tick_us;
  const uint64_t answered = checker_.acknowledged();
  while (checker_.acknowledged() < answered + 3) {
    if (now_ > patience) throw Stuck("no client was answered after the faults had stopped");
    StepOnce();
  }
  clients_stop_ = true;
  const auto busy = [this] {
    return std::any_of(clients_.begin(), clients_.end(),
                       [](const auto& client) { return client->busy; });
  };
  while (busy() || !HasConverged()) {
    if (now_ > patience + 120 * kSecond) {
      std::string state;
      for (const auto& host : hosts_) {
        state += " node " + std::to_string(host->node.id().value());
        if (!host->node.up()) {
          state += host->lost ? " lost;" : " down;";
          continue;
        }
        const raft::Core& core = host->node.core();
        state += " " + std::string(raft::RoleName(core.role())) + " term " +
                 std::to_string(core.term().value()) + " last " +
                 std::to_string(core.last_index().value()) + " commit " +
                 std::to_string(core.commit().value()) + " applied " +
                 std::to_string(core.applied().value()) +
                 (core.acknowledged().lost() ? " lacking entries;" : ";");
      }
      throw Stuck("the nodes did not come to agree after the faults had stopped:" + state);
    }
    StepOnce();
  }
}

void Cluster::CheckQuiet() {
  const Membership members = Leader()->node.core().membership();
  for (const auto& host : hosts_) {
    if (!host->node.up() || !members.Contains(host->node.id())) continue;
    summary_.healed += host->was_short;
    // What rotted where nobody has looked yet is found now.
    Do(host.get(), [&] {
      checker_.CheckState(host->node);
      checker_.CompareHash(host->node);
    });
  }
  RestartAll(members);
}

// What is on the disks once more, without what is in memory: the power goes everywhere at once.
void Cluster::RestartAll(const Membership& members) {
  for (const auto& host : hosts_) {
    if (host->node.up()) Crash(host.get(), CrashKind::kPower, 0);
  }
  for (const auto& host : hosts_) {
    if (host->lost) continue;
    Start(host.get());
    // Who is no member may have entries that nobody has told it are void.
    if (!host->node.up() || !members.Contains(host->node.id())) continue;
    Do(host.get(), [&] { checker_.CheckLog(host->node); });
  }
}

}  // namespace raftkv::sim
