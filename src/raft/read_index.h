// The two sides of linearizable reads without writing to the log (thesis 6.4).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "common/types.h"

namespace raftkv::raft {

// Names one ReadIndex call of this node.
using ReadToken = uint64_t;

// A leader's: reads wait for a round of heartbeats that a quorum answers, which shows that nobody
// had replaced the leader when the round started. One round is in flight at a time; it serves every
// read that came before it started, and those that come meanwhile share the next.
//
// Owned by the core, on its thread; emptied when leadership ends.
class LeaderReads {
 public:
  // Who asked: this node's own client, or a follower for its clients.
  struct Read {
    NodeId from;
    uint64_t token = 0;

    bool operator==(const Read&) const = default;
  };
  struct Confirmed {
    Index index;
    std::vector<Read> reads;
  };

  void Add(Read read) { waiting_.push_back(read); }
  // Reads wait, and the round before theirs has ended.
  bool WantsRound() const { return !waiting_.empty() && in_flight_.reads.empty(); }
  // Starts the next round; its reads will be served at `commit`, which must be an entry of the
  // leader's term or follow one.
  void StartRound(Index commit);
  // What heartbeats carry: the number of the last round started. 0: none yet.
  uint64_t round() const { return round_; }
  // A quorum has confirmed rounds up to `round`: the reads that may now be served, if any.
  std::optional<Confirmed> Confirm(uint64_t round);
  // Gives up on all of them.
  std::vector<Read> TakeAll();

  bool empty() const { return waiting_.empty() && in_flight_.reads.empty(); }

 private:
  uint64_t round_ = 0;
  Confirmed in_flight_;  // the reads of round_; empty when it has ended
  std::vector<Read> waiting_;
};

// A follower's: everything asked for since the last request goes to the leader in one request,
// under an id of its own. A request that gets no answer fails after a while.
//
// Owned by the core, on its thread.
class FollowerReads {
 public:
  // `first_id` must be random: an answer to a request of before a restart must not be taken for
  // one to a request of now.
  FollowerReads(uint64_t first_id, uint32_t timeout_ticks)
      : next_id_(first_id), timeout_ticks_(timeout_ticks) {}

  void Add(ReadToken token) { waiting_.push_back(token); }
  bool HasRequest() const { return !waiting_.empty(); }
  // The id to ask the leader under, for all that wait.
  uint64_t TakeRequest();
  // The reads of an answered request; none for an unknown id (late, or a duplicate).
  std::vector<ReadToken> TakeAnswered(uint64_t id);
  // One tick has passed; the reads that have waited too long.
  std::vector<ReadToken> Tick();
  // Gives up on all of them.
  std::vector<ReadToken> TakeAll();

  bool empty() const { return waiting_.empty() && requests_.empty(); }

 private:
  struct Request {
    uint64_t id = 0;
    uint64_t sent_at = 0;
    std::vector<ReadToken> tokens;
  };

  uint64_t next_id_;
  const uint32_t timeout_ticks_;
  uint64_t now_ = 0;  // in ticks
  std::vector<ReadToken> waiting_;
  std::deque<Request> requests_;  // oldest first
};

}  // namespace raftkv::raft
