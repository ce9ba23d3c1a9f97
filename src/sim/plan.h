// What one run is like: everything a seed decides beforehand.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "sim/node.h"

namespace raftkv::sim {

// The kinds of faults. Each draws its random numbers from a generator of its own, so that one can
// be left out and the others stay as they are.
enum class Fault : uint8_t {
  kPowerLoss,
  kProcessKill,
  kMidIo,      // a power loss in the middle of what RocksDB does
  kHarshLoss,  // a power loss that keeps any of the unsynced pages; one minority of the nodes
  kLostTail,   // what was synced is not there any more; the same minority
  kBitRot,     // a bit flips, or a file is gone; the same minority
  kPause,
  kPartition,
  kMessageLoss,
  kDuplicate,
  kSlowMessage,
  kSyncError,
  kWriteError,
  kNoSpace,
  kSkew,
  kClockJump,
  kTransfer,
  kMembership,
  kIsolate,  // a leader is cut off just when it has something to tell
  kFlaky,    // half of all messages are lost, for a while
  kReadError,
  kSlowDisk,  // a node's disk takes up to seconds for each operation, for a while
  kShortRead,
  kSessionLimits,  // a leader changes how many sessions are remembered, and for how long
  kCount,
};
inline constexpr size_t kFaultKinds = static_cast<size_t>(Fault::kCount);

std::string_view FaultName(Fault fault);
std::optional<Fault> ParseFault(std::string_view name);

struct Plan {
  uint64_t seed = 0;
  uint64_t steps = 20000;
  size_t nodes = 3;
  size_t spares = 0;  // nodes that are no members at first
  size_t clients = 3;
  size_t readers = 0;  // of the clients: they only read, each from one node as long as that answers
  size_t keys = 3;
  uint64_t value_bytes = 20;
  NodeOptions node;
  uint64_t tick_us = 100'000;
  uint64_t flush_every_us = 0;
  bool cuts_log = false;  // after flushes
  // How much of each fault: for those that happen now and then, microseconds between two of them on
  // average; for those of messages, in percent; for skew, in percent of the tick. 0: none.
  std::array<uint64_t, kFaultKinds> faults{};

  uint64_t of(Fault fault) const { return faults[static_cast<size_t>(fault)]; }
};

// What the command line changes of a plan.
struct PlanLimits {
  std::optional<uint64_t> steps;
  std::optional<size_t> clients;
  std::set<Fault> without;
};

Plan MakePlan(uint64_t seed, const PlanLimits& limits);

// One line.
std::string ToString(const Plan& plan);

}  // namespace raftkv::sim
