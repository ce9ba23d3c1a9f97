#include "raft/sim_disk.h"

#include <algorithm>
#include <string>

#include "common/check.h"
#include "common/membership_codec.h"

namespace raftkv::raft {

SimDisk::SimDisk(Membership membership, LogPosition start)
    : membership_(std::move(membership)),
      start_(start),
      hard_state_{start.term, NodeId(), Index()} {}

void SimDisk::SetLog(const HardState& hard_state, LogPosition start,
                     const std::vector<Term>& terms) {
  hard_state_ = hard_state;
  start_ = start;
  entries_.clear();
  unsynced_.clear();
  acknowledged_ = {};
  promised_ = {};
  Index index = start_.index;
  for (const Term term : terms) {
    ++index;
    entries_[index] = {index, term, EntryKind::kNoop, nullptr};
  }
}

void SimDisk::Write(const AppendTask& task) {
  if (task.install) {
    RAFTKV_CHECK(task.install->last.index > start_.index, "a snapshot from before the log's start");
    RAFTKV_CHECK(!task.cut && task.truncate_from.none(), "a log both replaced and changed");
    entries_.clear();
    start_ = task.install->last;
    membership_ = task.install->membership;
  }
  if (!task.truncate_from.none()) {
    RAFTKV_CHECK(task.truncate_from <= last(), "a truncation that removes nothing");
    entries_.erase(entries_.lower_bound(task.truncate_from), entries_.end());
  }
  for (const Entry& entry : task.entries) {
    RAFTKV_CHECK(entry.index == last() + 1, "a write that leaves a gap or overwrites");
    entries_[entry.index] = entry;
  }
  if (task.cut) {
    const LogPosition start = task.cut->before_first;
    RAFTKV_CHECK(start.index > start_.index && TermAt(start.index) == start.term,
                 "cut after an entry that is not there");
    start_ = start;
    membership_ = task.cut->membership;
    entries_.erase(entries_.begin(), entries_.upper_bound(start.index));
  }
  if (task.hard_state) {
    RAFTKV_CHECK(task.hard_state->term >= hard_state_.term, "a write takes the term back");
    RAFTKV_CHECK(task.hard_state->commit <= last(), "a commit index beyond the log was written");
    hard_state_ = *task.hard_state;
  }
  // As if so much could be acknowledged before the record beside the log is to be written again.
  constexpr uint64_t kReserve = 100;
  acknowledged_ = task.owed;
  if (task.owed == AckBounds{}) {
    acknowledged_ = {last_position(), {last() + kReserve, hard_state_.term}};
    promised_ = last_position();
  }
}

AppendTask SimDisk::SyncNext() {
  AppendTask task = std::move(unsynced_.front());
  unsynced_.pop_front();
  Write(task);
  return task;
}

void SimDisk::Crash(size_t keep) {
  for (; keep > 0 && !unsynced_.empty(); --keep) SyncNext();
  unsynced_.clear();
}

void SimDisk::Lose(Index last, Index noted) {
  RAFTKV_CHECK(unsynced_.empty() && last >= start_.index, "nothing to lose there");
  RAFTKV_CHECK(TermAt(noted).has_value(), "a note of an entry that is not there");
  if (acknowledged_.at_least == last_position()) acknowledged_.at_least = {noted, *TermAt(noted)};
  for (auto it = entries_.upper_bound(last); it != entries_.end(); it = entries_.erase(it)) {
    lost_.insert(it->second.position());
  }
  hard_state_.commit = std::min(hard_state_.commit, last);
}

PersistentState SimDisk::Load(Index applied) const {
  PersistentState state;
  state.hard_state = hard_state_;
  state.membership = membership_;
  state.first = start_.index + 1;
  state.last = last();
  state.before_first = start_;
  for (const auto& [index, entry] : entries_) {
    if (state.terms.empty() || state.terms.back().term != entry.term) {
      state.terms.push_back({index, entry.term});
    }
    if (entry.kind == EntryKind::kConfig) {
      state.configs.push_back({index, *DecodeMembership(entry.bytes())});
    }
  }
  const std::optional<Term> term = TermAt(applied);
  RAFTKV_CHECK(term.has_value(), "an applied entry is not on disk");
  state.applied = {applied, *term};
  state.acknowledged = acknowledged_;
  return state;
}

Status SimDisk::Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const {
  uint64_t bytes = 0;
  for (Index index = from; index <= to; ++index) {
    const auto it = entries_.find(index);
    if (it == entries_.end()) {
      return Status(Code::kCorruption, "entry " + std::to_string(index.value()) + " is missing");
    }
    bytes += EntryBytes(it->second);
    if (bytes > bytes_max && index > from) break;
    out->push_back(it->second);
  }
  return Status::Ok();
}

std::optional<Term> SimDisk::TermAt(Index index) const {
  if (index == start_.index) return start_.term;
  const auto it = entries_.find(index);
  if (it == entries_.end()) return std::nullopt;
  return it->second.term;
}

}  // namespace raftkv::raft
