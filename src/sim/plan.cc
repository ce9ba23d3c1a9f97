#include "sim/plan.h"

#include <algorithm>
#include <array>

namespace raftkv::sim {
namespace {

constexpr std::array<std::string_view, kFaultKinds> kNames{
    "power-loss",  "kill",      "mid-io",     "harsh-loss", "lost-tail",  "bit-rot",
    "pause",       "partition", "loss",       "duplicate",  "slow",       "sync-error",
    "write-error", "no-space",  "skew",       "clock-jump", "transfer",   "membership",
    "isolate",     "flaky",     "read-error", "slow-disk",  "short-read", "session-limits"};

constexpr uint64_t kSecond = 1'000'000;

}  // namespace

std::string_view FaultName(Fault fault) { return kNames[static_cast<size_t>(fault)]; }

std::optional<Fault> ParseFault(std::string_view name) {
  const auto it = std::find(kNames.begin(), kNames.end(), name);
  if (it == kNames.end()) return std::nullopt;
  return static_cast<Fault>(it - kNames.begin());
}

Plan MakePlan(uint64_t seed, const PlanLimits& limits) {
  Rng rng(seed);
  Plan plan;
  plan.seed = seed;
  const uint64_t size = rng.Below(10);
  plan.nodes = size == 0 ? 1 : size < 7 ? 3 : 5;
  plan.readers = rng.Below(3);
  plan.clients = rng.Between(1, 6) + plan.readers;
  plan.keys = rng.Between(1, 5);
  plan.value_bytes = rng.Percent(30) ? rng.Between(2000, 20000) : rng.Between(16, 200);

  NodeOptions& node = plan.node;
  node.page_bytes = rng.Percent(25) ? 512 : 4096;
  node.lazy_output = rng.Percent(30);
  node.engine.block_cache_bytes = 64 << 20;  // no evictions: they depend on ids that RocksDB draws
  // Tiny limits make flushes, WAL switches and compactions frequent.
  const bool tiny = rng.Percent(60);
  node.engine.kv_memtable_bytes = tiny ? 64 << 10 : 1 << 20;
  node.engine.log_memtable_bytes = tiny ? 64 << 10 : 1 << 20;
  node.engine.wal_bytes_max = tiny ? 128 << 10 : 2 << 20;
  node.raft.election_ticks = static_cast<uint32_t>(rng.Between(5, 12));
  if (rng.Percent(40)) {
    node.raft.append_entries_max = rng.Between(1, 5);
    node.raft.inflight_messages_max = static_cast<uint32_t>(rng.Between(1, 4));
    node.raft.cache_bytes_max = rng.Below(2000);
    node.raft.apply_bytes_max = rng.Between(100, 5000);
  }
  node.log_tail_entries = rng.Percent(50) ? rng.Below(5) : 100;
  plan.flush_every_us = rng.Percent(75) ? rng.Between(2, 100) * kSecond / 10 : 0;
  plan.cuts_log = rng.Percent(75);

  const auto sometimes = [&](Fault fault, uint64_t percent, uint64_t low, uint64_t high) {
    const bool on = rng.Percent(percent);
    const uint64_t amount = rng.Between(low, high);
    if (on && !limits.without.contains(fault)) plan.faults[static_cast<size_t>(fault)] = amount;
    return on;
  };
  sometimes(Fault::kPowerLoss, 60, 2 * kSecond, 30 * kSecond);
  sometimes(Fault::kProcessKill, 40, 2 * kSecond, 30 * kSecond);
  sometimes(Fault::kMidIo, 60, 2 * kSecond, 30 * kSecond);
  sometimes(Fault::kHarshLoss, 25, 3 * kSecond, 30 * kSecond);
  sometimes(Fault::kLostTail, 30, 2 * kSecond, 20 * kSecond);
  sometimes(Fault::kBitRot, 20, 5 * kSecond, 40 * kSecond);
  sometimes(Fault::kPause, 30, 5 * kSecond, 30 * kSecond);
  sometimes(Fault::kPartition, 50, 3 * kSecond, 30 * kSecond);
  sometimes(Fault::kMessageLoss, 50, 1, 20);
  sometimes(Fault::kDuplicate, 40, 1, 20);
  sometimes(Fault::kSlowMessage, 40, 1, 20);
  sometimes(Fault::kSyncError, 25, 5 * kSecond, 60 * kSecond);
  sometimes(Fault::kWriteError, 25, 5 * kSecond, 60 * kSecond);
  sometimes(Fault::kNoSpace, 20, 10 * kSecond, 60 * kSecond);
  sometimes(Fault::kSkew, 30, 1, 30);
  sometimes(Fault::kClockJump, 20, 5 * kSecond, 60 * kSecond);
  sometimes(Fault::kTransfer, 30, 5 * kSecond, 30 * kSecond);
  const bool members_change = sometimes(Fault::kMembership, 40, 1 * kSecond, 15 * kSecond);
  sometimes(Fault::kIsolate, 50, 3 * kSecond, 20 * kSecond);
  sometimes(Fault::kFlaky, 40, 5 * kSecond, 30 * kSecond);
  sometimes(Fault::kReadError, 20, 5 * kSecond, 40 * kSecond);
  sometimes(Fault::kSlowDisk, 20, 5 * kSecond, 30 * kSecond);
  sometimes(Fault::kShortRead, 20, 5 * kSecond, 40 * kSecond);
  // Also where it is left out: the other faults stay as they are.
  if (members_change) {
    plan.spares = 3;
    // A node that a disk takes away could be half of what is left of the members.
    for (const Fault fault : {Fault::kHarshLoss, Fault::kLostTail, Fault::kBitRot}) {
      plan.faults[static_cast<size_t>(fault)] = 0;
    }
  }
  if (limits.steps) plan.steps = *limits.steps;
  if (limits.clients) plan.clients = std::min(plan.clients, *limits.clients);
  if (plan.readers >= plan.clients) plan.readers = plan.clients - 1;
  // Last, so that plans stayed what they were. The product's megabyte is more than a run writes.
  constexpr std::array<uint64_t, 4> kFills{0, 4096, 30'000, 200'000};
  node.wal_fill_bytes = kFills[rng.Below(kFills.size())];
  sometimes(Fault::kSessionLimits, 30, 1 * kSecond, 15 * kSecond);
  return plan;
}

std::string ToString(const Plan& plan) {
  std::string text =
      "nodes=" + std::to_string(plan.nodes) + " clients=" + std::to_string(plan.clients) +
      " readers=" + std::to_string(plan.readers) + " keys=" + std::to_string(plan.keys) +
      " value=" + std::to_string(plan.value_bytes) +
      " page=" + std::to_string(plan.node.page_bytes) +
      " fill=" + std::to_string(plan.node.wal_fill_bytes) +
      " tail=" + std::to_string(plan.node.log_tail_entries) +
      " steps=" + std::to_string(plan.steps) + " faults:";
  for (size_t i = 0; i < kFaultKinds; ++i) {
    if (plan.faults[i] > 0) text += " " + std::string(kNames[i]);
  }
  return text;
}

}  // namespace raftkv::sim
