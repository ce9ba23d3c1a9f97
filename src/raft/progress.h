// What a leader knows of one follower, and how much it may send to it.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>

#include "common/types.h"

namespace raftkv::raft {

// How much may be on its way to one follower.
struct InflightLimits {
  uint32_t messages_max = 0;
  uint64_t bytes_max = 0;
};

// Whether a follower is there. Not heard of yet in the term, for less than an election timeout
// (kAwaited), is not yet silent: it may never have been asked.
enum class Contact : uint8_t { kAwaited, kHeard, kSilent };

// A follower starts in kProbe: one append at a time, until one is accepted and shows where the logs
// agree. Then kReplicate: appends are pipelined, `next` runs ahead of what was acknowledged. A
// rejection (something was lost) goes back to kProbe. kSnapshot: the entries it needs have been cut
// off; nothing is sent but heartbeats.
//
// Owned by the core, on its thread; lives as long as the leader's term.
class Progress {
 public:
  enum class State : uint8_t { kProbe, kReplicate, kSnapshot };

  // `now`, here and below: ticks since the term's leader was elected.
  explicit Progress(Index next, uint64_t now = 0)
      : next_(next), contact_at_(now), round_last_(next - 1), round_began_at_(now) {}

  State state() const { return state_; }
  std::string_view state_name() const;
  // The last index known to be on the follower's disk and equal to the leader's log.
  Index match() const { return match_; }
  // The next entry to send.
  Index next() const { return next_; }

  // Whether an append with entries may be sent now. While probing one that is empty counts too.
  bool CanSend(const InflightLimits& limits) const;
  // Whether an append is due although there are no entries to send: it has to be found out whether
  // earlier ones were lost.
  bool owes_append() const { return owes_append_ && state_ == State::kReplicate; }
  // Whether no append sent has told of `commit`, or of as much of it as the follower was sent.
  bool OwesCommit(Index commit) const;
  // An append with entries up to `last` (next - 1 when it has none) of `bytes`, which tells of
  // `commit`, was sent.
  void OnSent(Index last, uint64_t bytes, Index commit);

  // An answer came from the run `run` (Options::run) of the follower. False if that run has ended:
  // nothing in it counts any more. From the first answer of a later run on, what the one before
  // stored is not taken for granted; `counted` remembers it.
  bool OnHeard(uint64_t run);
  // Something arrived from it that OnHeard let pass.
  void OnContact(uint64_t now);
  // Silent is who was not heard from for `timeout` ticks.
  Contact contact(uint64_t now, uint64_t timeout) const;
  // The follower stored everything up to `match`, an entry of `term`. True if that was news, or
  // ended probing.
  bool OnAccepted(Index match, Term term);
  // The follower does not have the entry `previous`; `retry` is the best guess for the next one to
  // send. False for an answer to something older than what is known: nothing changes.
  bool OnRejected(Index previous, Index retry);
  // The entries it needs are gone.
  void OnCutOff();
  // A snapshot up to `last` was delivered: what follows may be tried. None: it was not, and may be
  // asked for again once the follower answers a heartbeat. True if there is something to send.
  bool OnSnapshotSent(Index last);

  // A regular heartbeat was sent; its answer may set off one append (see OnHeartbeatResponse). The
  // heartbeats of reads do not count, or every read would cost an append.
  void OnHeartbeatTick() { check_for_loss_ = true; }
  // The follower answered a heartbeat. If it has not stored all up to `last`, earlier appends (or
  // their answers) may have been lost: a probe may be sent again, or an append becomes due, whose
  // rejection would tell. True if so.
  bool OnHeartbeatResponse(Index last);

  // Catching up goes in rounds (thesis 4.2.1): each brings what the leader's log, up to `last`,
  // held when the one before ended. How long one takes, under whatever load and over whatever link,
  // is about how long commits would wait for the follower if it voted. To be called with each tick,
  // and after an acceptance.
  void MeasureRound(Index last, uint64_t now, uint64_t timeout);
  // Whether the last round took less than `timeout`, and the one under way has not taken more.
  bool KeepsUp(uint64_t now, uint64_t timeout) const;

  // The highest position that any run of the follower has stored in this term.
  LogPosition counted() const { return counted_; }
  // The latest run of the follower that was heard of; 0: none.
  uint64_t run() const { return run_; }

  // Heard from since the last quorum check (thesis 6.2), which takes it back: for whether the
  // follower is there, ask contact().
  bool recently_active = false;
  // The highest read round it has confirmed.
  uint64_t read_round = 0;

  size_t inflight_messages() const { return inflight_.size(); }
  uint64_t inflight_bytes() const { return inflight_bytes_; }

  void CheckInvariants(Index last) const;

 private:
  struct Inflight {
    Index last;
    uint64_t bytes = 0;
  };

  void BecomeProbe(Index next);

  State state_ = State::kProbe;
  Index match_;
  Index next_;
  LogPosition counted_;
  uint64_t run_ = 0;  // the latest heard of
  bool heard_ = false;
  uint64_t contact_at_;  // when it was last heard from; until it is, when it became a follower
  Index round_last_;     // the round is over when this is stored
  uint64_t round_began_at_;
  bool last_round_was_short_ = false;
  bool probe_sent_ = false;
  bool snapshot_failed_ = false;  // while kSnapshot
  bool check_for_loss_ = false;
  bool owes_append_ = false;
  Index commit_told_;  // as far as appends sent have told
  std::deque<Inflight> inflight_;
  uint64_t inflight_bytes_ = 0;
};

}  // namespace raftkv::raft
