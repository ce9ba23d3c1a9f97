// The faults of a run, each from a generator of its own.
#include <algorithm>
#include <utility>

#include "sim/host.h"
#include "store/command.h"
#include "store/session_limits.h"

namespace raftkv::sim {
namespace {

constexpr uint64_t kMillisecond = 1000;
constexpr uint64_t kSecond = 1000 * kMillisecond;

}  // namespace

void Cluster::Repeat(Fault fault, const std::function<void(Rng*)>& run) {
  const uint64_t every = plan_.of(fault);
  if (every == 0) return;
  At(every / 2 + RngOf(fault).Below(every), [this, fault, run] {
    if (calm_) return;
    run(&RngOf(fault));
    Repeat(fault, run);
  });
}

Cluster::Host* Cluster::AnyUp(Rng* rng) {
  Host* const host = hosts_[rng->Below(hosts_.size())].get();
  return host->node.up() ? host : nullptr;
}

void Cluster::ScheduleFaults() {
  const auto crash = [this](Fault fault, CrashKind kind) {
    Repeat(fault, [this, fault, kind](Rng* rng) {
      const bool all = rng->Percent(10);
      const uint64_t down = rng->Percent(30) ? rng->Below(20 * kSecond) : rng->Below(kSecond);
      Host* const one = AnyUp(rng);
      for (const auto& host : hosts_) {
        if (!host->node.up() || (!all && host.get() != one)) continue;
        Happened(fault);
        Crash(host.get(), kind, down);
      }
    });
  };
  crash(Fault::kPowerLoss, CrashKind::kPower);
  crash(Fault::kProcessKill, CrashKind::kProcess);
  Repeat(Fault::kMidIo, [this](Rng* rng) {
    Host* const host = AnyUp(rng);
    const uint64_t changes = rng->Below(rng->Percent(50) ? 10 : 200);
    if (host == nullptr) return;
    Happened(Fault::kMidIo);
    host->node.disk().KillAfter(changes);
  });
  Repeat(Fault::kHarshLoss, [this](Rng* rng) {
    Host* const host = AnyUp(rng);
    const uint64_t down = rng->Below(kSecond);
    if (!PutAtRisk(host)) return;
    host->must_start = false;
    Happened(Fault::kHarshLoss);
    Crash(host, CrashKind::kHarsh, down);
  });
  Repeat(Fault::kLostTail, [this](Rng* rng) {
    if (rng->Percent(50)) {
      LoseTailWhenItMatters(rng);
    } else {
      LoseTail(rng);
    }
  });
  Repeat(Fault::kBitRot, [this](Rng* rng) { Rot(rng); });
  Repeat(Fault::kPause, [this](Rng* rng) {
    const uint64_t until = now_ + rng->Below(rng->Percent(20) ? 10 * kSecond : 2 * kSecond);
    Host* const host = LeaderOrAny(rng);
    if (!host->node.up()) return;
    Happened(Fault::kPause);
    host->paused_until = until;
  });
  Repeat(Fault::kPartition, [this](Rng* rng) { Partition(rng); });
  for (const Fault fault : {Fault::kSyncError, Fault::kWriteError, Fault::kReadError,
                            Fault::kShortRead, Fault::kNoSpace}) {
    Repeat(fault, [this, fault](Rng* rng) { FailDisk(fault, rng); });
  }
  Repeat(Fault::kClockJump, [this](Rng* rng) {
    Host* const host = hosts_[rng->Below(hosts_.size())].get();
    Happened(Fault::kClockJump);
    host->clock_offset_us =
        static_cast<int64_t>(rng->Below(20 * kSecond)) - static_cast<int64_t>(10 * kSecond);
  });
  Repeat(Fault::kTransfer, [this](Rng* rng) {
    Host* const leader = Leader();
    const NodeId to(rng->Below(hosts_.size() + 1));
    if (leader == nullptr || leader->paused_until > now_) return;
    Happened(Fault::kTransfer);
    Do(leader, [leader, to] { (void)leader->node.TransferLeadership(to); });
  });
  Repeat(Fault::kMembership, [this](Rng* rng) { ChangeMembership(rng); });
  Repeat(Fault::kIsolate,
         [this](Rng* rng) { isolate_us_ = rng->Between(500 * kMillisecond, 8 * kSecond); });
  Repeat(Fault::kFlaky, [this](Rng* rng) { BeFlaky(rng); });
  Repeat(Fault::kSlowDisk, [this](Rng* rng) {
    Host* const host = hosts_[rng->Below(hosts_.size())].get();
    Happened(Fault::kSlowDisk);
    host->slow_until = now_ + rng->Between(kSecond, 10 * kSecond);
  });
  Repeat(Fault::kSessionLimits, [this](Rng* rng) { ChangeSessionLimits(rng); });
}

// Such a node may refuse to start, or forget, so that a majority must be spared, always the same
// one. False when the node is one of those.
bool Cluster::PutAtRisk(Host* host) {
  if (host == nullptr) return false;
  const auto at_risk =
      std::count_if(hosts_.begin(), hosts_.end(), [](const auto& other) { return other->at_risk; });
  if (!host->at_risk && 2 * (static_cast<size_t>(at_risk) + 1) >= plan_.nodes) return false;
  host->at_risk = true;
  return true;
}

// Ends the node's process for `down`, with all that it wrote on its disk, for the caller to damage.
// False, and nothing happens, where that would be one node too many.
bool Cluster::StopToDamage(Host* host, uint64_t down, Fault fault) {
  if (!PutAtRisk(host)) return false;
  Crash(host, CrashKind::kProcess, down);
  checker_.OnDamaged(host->node.id());
  host->damaged = true;
  host->must_start = false;
  host->node.disk().SyncEverything();
  Happened(fault);
  return true;
}

// A node starts with less than it had synced: an older copy of its database, or a WAL without its
// end.
void Cluster::LoseTail(Rng* rng) {
  Host* const host = AnyUp(rng);
  const bool put_back = rng->Percent(50);
  const uint64_t part = rng->Below(1000);
  const uint64_t down = rng->Below(kSecond);
  LoseTailOf(host, put_back, part, down);
}

void Cluster::LoseTailOf(Host* host, bool put_back, uint64_t part, uint64_t down) {
  if (!StopToDamage(host, down, Fault::kLostTail)) return;
  SimDisk& disk = host->node.disk();
  if (put_back && !host->copy.empty()) {
    disk.PutBack(SimNode::kDatabase, host->copy);
    host->must_start = !host->rotten;
    return;
  }
  std::string newest;
  for (const std::string& path : disk.Files()) {
    if (path.ends_with(".log") && !disk.Find(path)->data.empty()) newest = path;
  }
  if (newest.empty()) return;
  // Of what was logged: what was only written ahead is no loss.
  const uint64_t logged = disk.Find(newest)->data.find_last_not_of('\0') + 1;
  disk.LoseTail(newest, logged * part / 1000);
}

// While some are cut off, and the disk of every other one is needed for what is committed, one of
// these loses it, and finds itself on the side of those that never had it.
void Cluster::LoseTailWhenItMatters(Rng* rng) {
  Host* const leader = Leader();
  const size_t first = rng->Below(hosts_.size());
  const bool put_back = rng->Percent(30);
  const uint64_t part = rng->Below(1000);
  const uint64_t before = rng->Between(kSecond, 5 * kSecond);
  const uint64_t after = rng->Between(2 * kSecond, 10 * kSecond);
  Host* loser = nullptr;
  std::set<NodeId> behind;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    Host* const host = hosts_[(first + i) % hosts_.size()].get();
    if (host == leader) continue;
    if (loser == nullptr && host->node.up() && PutAtRisk(host)) {
      loser = host;
    } else if (behind.size() < (hosts_.size() - 1) / 2) {
      behind.insert(host->node.id());
    }
  }
  if (leader == nullptr || loser == nullptr) return;
  Split(behind);
  At(before, [=, this]() mutable {
    if (calm_) return;
    if (loser->node.up()) LoseTailOf(loser, put_back, part, /*down=*/0);
    behind.insert(loser->node.id());
    Split(behind);
  });
  At(before + after, [this] { Reconnect(); });
}

void Cluster::Rot(Rng* rng) {
  Host* const host = AnyUp(rng);
  const uint64_t what = rng->Below(10);
  const uint64_t pick = rng->Next();
  const uint64_t bit = rng->Next();
  const uint64_t down = rng->Below(kSecond);
  const bool was_damaged = host != nullptr && host->damaged;
  if (!StopToDamage(host, down, Fault::kBitRot)) return;
  host->rotten = true;
  SimDisk& disk = host->node.disk();
  std::vector<std::string> files = disk.Files();
  // The fence is the witness of what an earlier damage took. That both are lost is beyond what is
  // promised (docs/durability.md).
  if (was_damaged) std::erase(files, SimNode::kFence);
  const std::string& file = files[pick % files.size()];
  const std::string current = std::string(SimNode::kDatabase) + "/CURRENT";
  if (what <= 1) {
    disk.Lose(current);
    host->must_refuse = true;
  } else if (what == 2) {
    disk.Lose(file);
    host->must_refuse = host->must_refuse || file == current;
  } else {
    disk.FlipBit(file, bit);
  }
}

// The next matching operation fails, or all writes for a while.
void Cluster::FailDisk(Fault fault, Rng* rng) {
  Host* const host = AnyUp(rng);
  uint64_t after = rng->Below(50);
  const uint64_t room = rng->Below(50'000);
  const uint64_t full_us = rng->Between(kSecond, 20 * kSecond);
  if (host == nullptr || host->disk_failed) return;
  SimDisk& disk = host->node.disk();
  if (fault == Fault::kNoSpace) {
    Happened(fault);
    disk.SetCapacity(disk.bytes() + room);
    At(full_us, [host] { host->node.disk().SetCapacity(0); });
    return;
  }
  const DiskOp failing = fault == Fault::kSyncError    ? DiskOp::kSync
                         : fault == Fault::kWriteError ? DiskOp::kWrite
                                                       : DiskOp::kRead;
  disk.SetFaultHook(
      [this, host, failing, fault, after](DiskOp op, const std::string& path) mutable {
        if (op != failing || after-- > 0) return DiskResult::kOk;
        after = UINT64_MAX;
        host->disk_failed = true;
        Happened(fault);
        Trace("node " + std::to_string(host->node.id().value()) + " has a " +
              std::string(FaultName(fault)) + " at " + path);
        return fault == Fault::kShortRead ? DiskResult::kShort : DiskResult::kIoError;
      });
}

// Cuts links, one way or both; all are whole again after a while.
void Cluster::Partition(Rng* rng) {
  Happened(Fault::kPartition);
  cut_.clear();
  const uint64_t kind = rng->Below(4);
  const NodeId victim = LeaderOrAny(rng)->node.id();
  for (const auto& a : hosts_) {
    for (const auto& b : hosts_) {
      if (a == b) continue;
      bool cut = false;
      if (kind == 0) cut = a->node.id() == victim || b->node.id() == victim;  // alone
      if (kind == 1) cut = a->node.id() == victim;                            // deaf to it
      if (kind == 2) cut = b->node.id() == victim;                            // it is deaf
      if (kind == 3) cut = rng->Percent(30);                                  // here and there
      if (cut) cut_.insert({a->node.id(), b->node.id()});
    }
  }
  At(rng->Between(500 * kMillisecond, 15 * kSecond), [this] { Reconnect(); });
}

Cluster::Host* Cluster::LeaderOrAny(Rng* rng) {
  Host* const any = hosts_[rng->Below(hosts_.size())].get();
  const bool wants_leader = rng->Percent(50);
  Host* const leader = Leader();
  return wants_leader && leader != nullptr ? leader : any;
}

void Cluster::Isolate(Host* host, uint64_t for_us, Fault fault) {
  Happened(fault);
  Split({host->node.id()});
  At(for_us, [this] { Reconnect(); });
}

void Cluster::Split(const std::set<NodeId>& side) {
  cut_.clear();
  for (const auto& a : hosts_) {
    for (const auto& b : hosts_) {
      if (side.contains(a->node.id()) != side.contains(b->node.id())) {
        cut_.insert({a->node.id(), b->node.id()});
      }
    }
  }
}

// A network that heals is seldom well at once.
void Cluster::Reconnect() {
  cut_.clear();
  Rng& rng = RngOf(Fault::kFlaky);
  if (!calm_ && plan_.of(Fault::kFlaky) > 0 && rng.Percent(70)) BeFlaky(&rng);
}

void Cluster::BeFlaky(Rng* rng) {
  Happened(Fault::kFlaky);
  flaky_until_ = now_ + rng->Between(200 * kMillisecond, 4 * kSecond);
}

void Cluster::ChangeMembership(Rng* rng) {
  Host* const leader = Leader();
  const NodeId id(1 + rng->Below(hosts_.size()));
  const NodeId other(1 + rng->Below(hosts_.size()));
  const uint64_t what = rng->Below(5);
  const bool alone = rng->Percent(30);  // so that the change is not committed
  const uint64_t alone_us = rng->Between(kSecond, 8 * kSecond);
  if (leader == nullptr || leader->paused_until > now_) return;
  Do(leader, [&] {
    Membership target = leader->node.core().membership();
    if (target.IsJoint()) return;
    if (what == 0 && !target.IsVoter(id)) {
      target.learners.insert(id);
    } else if (what == 1 && target.learners.contains(id)) {
      target.learners.erase(id);
      target.voters.insert(id);
    } else if (what == 2 && target.IsVoter(id) && target.voters.size() > 1) {
      target.voters.erase(id);  // it stays as a learner, so that it can come back
      target.learners.insert(id);
    } else if (what == 3 && target.IsVoter(id) && !target.IsVoter(other)) {
      target.voters.erase(id);  // two voters at once: through a joint configuration
      target.learners.erase(other);
      target.voters.insert(other);
      target.learners.insert(id);
    } else if (what == 4 && target.IsVoter(id) && !target.IsVoter(other) &&
               !target.removed.contains(other)) {
      target.voters.erase(id);  // for good: a new node takes the place of an old one
      target.learners.erase(other);
      target.voters.insert(other);
    } else {
      return;
    }
    if (leader->node.ChangeConfig(target).ok()) {
      Happened(Fault::kMembership);
      ++summary_.configs;
      if (alone && plan_.of(Fault::kIsolate) > 0) Isolate(leader, alone_us, Fault::kIsolate);
    }
  });
}

// As a leader does whose flags ask for it. Fewer sessions than there are clients, and times shorter
// than what they wait between two writes.
void Cluster::ChangeSessionLimits(Rng* rng) {
  store::SessionLimits limits;
  const uint64_t sessions_max = rng->Between(1, 5);
  const uint64_t ttl_ms = rng->Below(rng->Percent(50) ? 1'000 : 20'000);
  if (rng->Percent(70)) limits.sessions_max = sessions_max;
  if (rng->Percent(70)) limits.ttl_ms = ttl_ms;
  Host* const leader = Leader();
  if (leader == nullptr || leader->paused_until > now_) return;
  Do(leader, [&] {
    const Status status =
        leader->node.Write(/*request=*/0,  // nobody waits for it
                           store::EncodeCommand(store::CommandType::kSessionLimits, 0, {},
                                                store::EncodeSessionLimits(limits)),
                           leader->node.clock().micros / 1000);
    if (status.ok()) Happened(Fault::kSessionLimits);
  });
}

}  // namespace raftkv::sim
