// The vocabulary every layer shares: terms, log indexes, node ids, log entries.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/strong_int.h"

namespace raftkv {

// A Raft term (Raft paper, section 5.1). 0 means none.
using Term = StrongInt<struct TermTag>;
// A position in the Raft log. The first entry has index 1; 0 means none.
using Index = StrongInt<struct IndexTag>;
// A member of the cluster. 0 means none.
using NodeId = StrongInt<struct NodeIdTag>;
// A cluster; nodes of different clusters refuse to talk. 0 means none.
using ClusterId = StrongInt<struct ClusterIdTag>;

// Where an entry stands: an (index, term) pair names one entry for ever (Log Matching, paper 5.3).
struct LogPosition {
  Index index;
  Term term;

  auto operator<=>(const LogPosition&) const = default;
};

// What an entry is for. The values are on disk and on the wire: never renumber.
enum class EntryKind : uint8_t {
  kNoop = 0,     // proposed by a new leader so that it may commit what came before (paper 5.4.2)
  kCommand = 1,  // a state machine command; the payload is opaque to Raft and to the log
  kConfig = 2,   // a membership change (part of the format; see docs/architecture.md)
};

// The bytes of an entry, shared between the log writer, the peers' outboxes and the apply thread:
// immutable once built, so that no thread needs a lock or a copy. Null means empty.
using Payload = std::shared_ptr<const std::string>;

// One entry of the replicated log.
struct Entry {
  Index index;
  Term term;
  EntryKind kind = EntryKind::kNoop;
  Payload payload;

  std::string_view bytes() const { return payload ? std::string_view(*payload) : ""; }
  LogPosition position() const { return {index, term}; }
};

// An entry's share of size limits: its payload and a fixed allowance for the header around it.
inline uint64_t EntryBytes(const Entry& entry) { return entry.bytes().size() + 32; }

// What a node must remember across a crash, besides its log (paper, figure 2), and the highest
// commit index it knew of when it last wrote. `commit` is a hint: it lets a restart replay before
// it hears from a leader, and may lag.
struct HardState {
  Term term;
  NodeId vote;
  Index commit;

  bool operator==(const HardState&) const = default;
};

}  // namespace raftkv
