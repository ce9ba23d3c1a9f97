// The parts of a Cluster that its source files share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/cluster.h"

namespace raftkv::sim {

struct Cluster::Host {
  Host(NodeId id, const NodeOptions& options, uint64_t seed, Checker* checker)
      : node(id, options, seed, checker) {}

  SimNode node;
  uint64_t epoch = 0;  // grows with every crash: what was scheduled before is void
  uint64_t paused_until = 0;
  uint64_t tick_us = 0;  // as this node's clock goes
  int64_t clock_offset_us = 0;
  uint64_t slow_until = 0;   // its disk
  bool disk_failed = false;  // an operation, since the start
  bool at_risk = false;      // its disk loses more than it may: the node may refuse to start
  bool damaged = false;      // not only what was unsynced: it may also end when it finds out
  bool rotten = false;       // by bits that flipped, and files that are gone
  SimDisk::Copy copy;        // of its database, some time ago
  bool must_refuse = false;  // what is left of the database must not be opened
  bool must_start = false;   // it is whole, only old
  bool was_short = false;    // it started without entries that it had acknowledged
  bool lost = false;         // refused: it stays away
  bool log_scheduled = false;
  bool apply_scheduled = false;
  bool report_scheduled = false;
  bool background_scheduled = false;
};

struct Cluster::Client {
  // kSwap: a transaction that puts where the key has the value that is expected, and reads it where
  // it has not.
  enum class Kind { kPut, kDelete, kSwap, kGet };

  size_t number = 0;
  bool only_reads = false;
  bool with_session = false;
  uint64_t session = 0;  // a new one when the old one was lost
  uint64_t sequence = 0;
  NodeId target;

  // The operation under way.
  bool busy = false;
  Kind kind = Kind::kPut;
  std::string key;
  std::string value;
  std::string expected;  // of a swap
  int64_t floor = 0;
  uint64_t request = 0;
  uint64_t tries = 0;
  uint64_t proposals = 0;  // tries that may have reached a log
};

}  // namespace raftkv::sim
