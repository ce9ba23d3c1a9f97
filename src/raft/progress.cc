#include "raft/progress.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace raftkv::raft {

std::string_view Progress::state_name() const {
  switch (state_) {
    case State::kProbe:
      return "probe";
    case State::kReplicate:
      return "replicate";
    case State::kSnapshot:
      return "snapshot";
  }
  return "unknown";
}

bool Progress::CanSend(const InflightLimits& limits) const {
  switch (state_) {
    case State::kProbe:
      return !probe_sent_;
    case State::kReplicate:
      return inflight_.size() < limits.messages_max && inflight_bytes_ < limits.bytes_max;
    case State::kSnapshot:
      return false;
  }
  return false;
}

bool Progress::OwesCommit(Index commit) const {
  if (state_ != State::kReplicate) return false;
  // An append without entries can tell of a commit only up to what went before it.
  return commit_told_ < std::min(commit, next_ - 1);
}

void Progress::OnSent(Index last, uint64_t bytes, Index commit) {
  RAFTKV_CHECK(last + 1 >= next_, "an append sent before what is next");
  commit_told_ = std::max(commit_told_, std::min(commit, last));
  owes_append_ = false;
  if (state_ == State::kProbe) {
    probe_sent_ = true;
  } else if (last >= next_) {
    inflight_.push_back({last, bytes});
    inflight_bytes_ += bytes;
    next_ = last + 1;
  }
}

// It may have lost what it stored, or not: its answers to what is sent next will tell. A snapshot
// that is on its way to it is not given up.
bool Progress::OnHeard(uint64_t run) {
  if (run < run_) return false;
  if (run > run_ && run_ != 0) {
    if (state_ != State::kSnapshot) BecomeProbe(match_ + 1);
    match_ = Index();
    last_round_was_short_ = false;  // it may lack what was brought to it
  }
  run_ = run;
  return true;
}

void Progress::OnContact(uint64_t now) {
  recently_active = true;
  heard_ = true;
  contact_at_ = now;
}

Contact Progress::contact(uint64_t now, uint64_t timeout) const {
  if (now - contact_at_ >= timeout) return Contact::kSilent;
  return heard_ ? Contact::kHeard : Contact::kAwaited;
}

void Progress::MeasureRound(Index last, uint64_t now, uint64_t timeout) {
  if (match_ < round_last_) return;
  last_round_was_short_ = now - round_began_at_ < timeout;
  round_last_ = last;
  round_began_at_ = now;
}

bool Progress::KeepsUp(uint64_t now, uint64_t timeout) const {
  return state_ == State::kReplicate && last_round_was_short_ && now - round_began_at_ < timeout;
}

bool Progress::OnAccepted(Index match, Term term) {
  if (match < match_) return false;
  const bool advanced = match > match_;
  match_ = match;
  if (match > counted_.index) counted_ = {match, term};
  next_ = std::max(next_, match + 1);
  while (!inflight_.empty() && inflight_.front().last <= match) {
    inflight_bytes_ -= inflight_.front().bytes;
    inflight_.pop_front();
  }
  if (state_ == State::kReplicate) return advanced;
  // Found where the logs agree: send from there, without waiting for answers.
  state_ = State::kReplicate;
  next_ = match_ + 1;
  return true;
}

bool Progress::OnRejected(Index previous, Index retry) {
  // What is at or below `match` was stored for good in this term, so the answer is an old one.
  if (state_ == State::kSnapshot || previous <= match_) return false;
  // A probe is answered only by a rejection of that very probe.
  if (state_ == State::kProbe && previous + 1 != next_) return false;
  BecomeProbe(std::max(match_ + 1, std::min(previous, retry)));
  return true;
}

void Progress::OnCutOff() {
  BecomeProbe(next_);
  state_ = State::kSnapshot;
  snapshot_failed_ = false;
}

bool Progress::OnSnapshotSent(Index last) {
  if (state_ != State::kSnapshot) return false;
  if (last.none()) {
    snapshot_failed_ = true;
    return false;
  }
  BecomeProbe(std::max(match_, last) + 1);
  return true;
}

bool Progress::OnHeartbeatResponse(Index last) {
  if (!std::exchange(check_for_loss_, false)) return false;
  if (state_ == State::kSnapshot) {
    // The probe will find again that what it needs has been cut off.
    if (snapshot_failed_) BecomeProbe(next_);
    return state_ == State::kProbe;
  }
  if (state_ == State::kProbe) {
    probe_sent_ = false;
    return true;
  }
  owes_append_ = match_ < last;
  return owes_append_;
}

void Progress::BecomeProbe(Index next) {
  state_ = State::kProbe;
  next_ = next;
  probe_sent_ = false;
  owes_append_ = false;
  commit_told_ = Index();
  inflight_.clear();
  inflight_bytes_ = 0;
}

void Progress::CheckInvariants(Index last) const {
  RAFTKV_CHECK(match_ < next_, "next is not after match");
  RAFTKV_CHECK(match_ <= counted_.index, "stored, but not counted");
  RAFTKV_CHECK(next_ <= last + 1, "next is beyond the leader's log");
  RAFTKV_CHECK(state_ == State::kReplicate || inflight_.empty(), "in flight while not replicating");
  uint64_t bytes = 0;
  Index previous = match_;
  for (const Inflight& inflight : inflight_) {
    RAFTKV_CHECK(inflight.last > previous, "appends in flight are out of order");
    previous = inflight.last;
    bytes += inflight.bytes;
  }
  RAFTKV_CHECK(previous < next_, "an append in flight is beyond next");
  RAFTKV_CHECK(bytes == inflight_bytes_, "bytes in flight do not add up");
}

}  // namespace raftkv::raft
