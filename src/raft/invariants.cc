// What must hold between any two inputs. Each check stands for a sentence in the comment of the
// field it binds.
#include <algorithm>

#include "common/check.h"
#include "raft/core.h"

namespace raftkv::raft {

void RaftLog::CheckInvariants() const {
  RAFTKV_CHECK(applied_ <= applying_, "applied before it was handed out");
  RAFTKV_CHECK(applying_ <= commit_ && applying_ <= durable_,
               "handed out to be applied before it was committed and durable");
  RAFTKV_CHECK(commit_ <= last_, "committed beyond the end of the log");
  RAFTKV_CHECK(durable_ <= submitted_ && submitted_ <= last_, "durable beyond what was written");
  RAFTKV_CHECK(before_first_.index <= commit_, "cut off before it was committed");
  RAFTKV_CHECK(!install_unwritten_ || durable_ < before_first_.index,
               "a snapshot is durable that was never written");
  RAFTKV_CHECK(!install_unwritten_ || (!cut_unwritten_ && truncate_from_.none()),
               "a log is to be both replaced and changed");
  Index config = before_first_.index;
  for (const ConfigEntry& entry : configs_.entries()) {
    RAFTKV_CHECK(entry.index > config && entry.index <= last_, "a configuration is out of place");
    config = entry.index;
  }

  RAFTKV_CHECK(terms_.empty() == (last_ == before_first_.index), "term runs do not cover the log");
  for (size_t i = 0; i < terms_.size(); ++i) {
    RAFTKV_CHECK(terms_[i].first <= last_, "a term run beyond the log");
    RAFTKV_CHECK(
        i == 0 || (terms_[i].first > terms_[i - 1].first && terms_[i].term > terms_[i - 1].term),
        "term runs do not rise");
  }

  RAFTKV_CHECK(tail_.size() <= last_ - before_first_.index, "more in memory than in the log");
  uint64_t cached = 0;
  uint64_t held = 0;
  for (const Entry& entry : tail_) {
    RAFTKV_CHECK(&entry == &At(entry.index) && TermAt(entry.index) == entry.term,
                 "an entry in memory is out of place");
    (entry.index <= cached_to_ ? cached : held) += EntryBytes(entry);
  }
  RAFTKV_CHECK(cached == cached_bytes_ && cached <= cache_bytes_max_, "the cache is miscounted");
  RAFTKV_CHECK(held == held_bytes_, "what must be in memory is miscounted");
  RAFTKV_CHECK(cached_to_ >= std::min(commit_, durable_), "what could be dropped is held");
  RAFTKV_CHECK(tail_first() <= cached_to_ + 1,
               "an entry that is not durable or not committed was dropped from memory");

  Index written = durable_;
  for (const Write& write : writes_) {
    RAFTKV_CHECK(write.last >= written && write.last <= submitted_, "writes are out of order");
    written = write.last;
  }
  uint64_t applying = 0;
  for (const Applying& task : applying_tasks_) applying += task.bytes;
  RAFTKV_CHECK(applying == applying_bytes_, "bytes being applied do not add up");
}

void Core::CheckInvariants() const {
  log_.CheckInvariants();
  RAFTKV_CHECK(term() >= log_.last_position().term, "the log is ahead of the term");
  RAFTKV_CHECK(durable_hard_state_.term <= submitted_hard_state_.term &&
                   submitted_hard_state_.term <= term(),
               "terms went back");
  RAFTKV_CHECK(hard_state_.commit.none(), "the commit index is kept in two places");
  RAFTKV_CHECK(durable_seq_ <= last_seq_, "a write was reported that was never asked for");
  RAFTKV_CHECK(log_.Installing() == installing_.has_value(),
               "the log begins beyond what is applied, or a snapshot is no longer being installed");
  RAFTKV_CHECK(!installing_ || installing_->last == log_.before_first(),
               "the snapshot being installed is not in the log's place");
  RAFTKV_CHECK(election_elapsed_ < std::max(election_timeout_, options_.election_ticks),
               "an election timeout was missed");

  for (const LogPosition& position : overwritten_) {
    RAFTKV_CHECK(!WillNeverCommit(position), "a lost proposal was not reported");
  }

  const bool leads = role_ == Role::kLeader;
  const bool campaigns = role_ == Role::kPreCandidate || role_ == Role::kCandidate;
  RAFTKV_CHECK(leads == (leader_ == id()), "who leads follows itself, and nobody else does");
  RAFTKV_CHECK(!campaigns || leader_.none(), "a candidate knows no leader");
  RAFTKV_CHECK(campaigns || votes_.empty(), "votes outlived the election");
  RAFTKV_CHECK((role_ != Role::kCandidate && !leads) || vote() == id(),
               "a candidate has voted for itself");
  RAFTKV_CHECK(follower_reads_.empty() || (!leads && !leader_.none()),
               "reads wait for a leader that is not known");
  if (!leads) {
    RAFTKV_CHECK(peers_.empty() && transfer_target_.none() && leader_reads_.empty() &&
                     term_start_.none() && !replicate_ && ticks_led_ == 0,
                 "what belongs to a leader outlived its leadership");
    return;
  }

  // Leader Append-Only (paper, figure 3): its own entries start with the no-op and are all there,
  // but for those that were cut off.
  if (term_start_ >= log_.before_first().index) {
    RAFTKV_CHECK(log_.TermAt(term_start_) == term(), "a leader's no-op is gone");
  }
  RAFTKV_CHECK(log_.TermAt(term_start_ - 1).value_or(Term()) < term(),
               "a leader's term began before its no-op");
  for (const NodeId member : membership().All()) {
    RAFTKV_CHECK(peers_.contains(member) != (member == id()), "a member is not replicated to");
  }
  for (const auto& [peer, progress] : peers_) {
    RAFTKV_CHECK(membership().Contains(peer), "who is no member is replicated to");
    progress.CheckInvariants(log_.last());
    RAFTKV_CHECK(progress.read_round <= leader_reads_.round(), "a round confirmed before it began");
  }
}

}  // namespace raftkv::raft
