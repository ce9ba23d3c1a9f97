// What cores say to each other (paper, figure 2; thesis sections 3, 6.4 and 9.6).
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/membership.h"
#include "common/types.h"

namespace raftkv::raft {

// RequestVote. With `pre_vote` nothing is promised: the sender asks whether it could win, and its
// term is the one it would campaign in (thesis 9.6).
struct VoteRequest {
  bool pre_vote = false;
  // Set when the leader asked for this election by TimeoutNow: voters then skip the check that
  // would protect a live leader (thesis 4.2.3).
  bool leadership_transfer = false;
  LogPosition last;

  bool operator==(const VoteRequest&) const = default;
};

struct VoteResponse {
  bool pre_vote = false;
  bool granted = false;

  bool operator==(const VoteResponse&) const = default;
};

// AppendEntries. Entries are contiguous and follow `previous`.
struct AppendRequest {
  LogPosition previous;
  Index commit;
  std::vector<Entry> entries;
  LogPosition counted;     // see Heartbeat
  uint64_t heard_run = 0;  // likewise
};

// `match` is the last index known to be on the follower's disk and equal to the leader's log. A
// rejection carries in `hint` the highest position of the follower's log that may still agree:
// the leader skips a whole term a round (paper, end of 5.3).
struct AppendResponse {
  bool rejected = false;
  Index match;
  Index rejected_previous;  // of a rejection: the request's previous.index, to drop stale ones
  LogPosition hint;
  uint64_t run = 0;  // Options::run of the follower
};

// Keeps a leader in office and confirms reads. `commit` is already capped at what the follower is
// known to hold. `counted` is the last position that the leader has ever counted this follower for,
// in its term: one that finds less in its log has lost it (src/raft/acknowledged.h). `heard_run` is
// the latest run of the follower's that it has heard of (Options::run): what earlier ones
// acknowledged will not be counted any more.
struct Heartbeat {
  Index commit;
  uint64_t read_round = 0;  // echoed; a quorum of echoes confirms the reads of this round (6.4)
  LogPosition counted;
  uint64_t heard_run = 0;
};

struct HeartbeatResponse {
  uint64_t read_round = 0;
  uint64_t run = 0;  // Options::run of the follower
};

// The leader tells a caught-up follower to campaign at once (thesis 3.10).
struct TimeoutNow {};

// A follower asks for a read index on behalf of its clients (thesis 6.4).
struct ReadIndexRequest {
  uint64_t token = 0;
};

struct ReadIndexResponse {
  uint64_t token = 0;
  Index index;  // none: the leader can't serve it (it has no commit in its term, or stepped down)
};

// What a snapshot stands for: the state machine after `last`, and the configuration then. Its data
// travels on a stream of its own; `id` names it on this node once it is there (src/store/engine.h)
// and means nothing to the core.
struct SnapshotMeta {
  LogPosition last;
  Membership membership;
  uint64_t id = 0;

  bool operator==(const SnapshotMeta&) const = default;
};

// The leader's snapshot has arrived whole and lies ready beside the state machine's data: it may
// take the place of the log up to `snapshot.last`. Made by the receiving node itself, in the name
// of the leader that sent the data and in that leader's term; it never crosses the network.
struct InstallSnapshot {
  SnapshotMeta snapshot;
};

using MessageBody = std::variant<VoteRequest, VoteResponse, AppendRequest, AppendResponse,
                                 Heartbeat, HeartbeatResponse, TimeoutNow, ReadIndexRequest,
                                 ReadIndexResponse, InstallSnapshot>;

struct Message {
  NodeId from;
  NodeId to;
  Term term;
  MessageBody body;
};

// One line for traces and test scenarios, e.g. "1->2 t3 Append prev=(4,2) commit=4 [5@3]".
std::string ToString(const Message& message);

}  // namespace raftkv::raft
