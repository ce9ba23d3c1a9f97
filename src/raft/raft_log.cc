#include "raft/raft_log.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/mutation.h"

namespace raftkv::raft {
namespace {

std::string Str(Index index) { return std::to_string(index.value()); }

void CheckState(const PersistentState& state) {
  const std::vector<TermRun>& terms = state.terms;
  const Index before_first = state.before_first.index;
  RAFTKV_CHECK(state.first == before_first + 1, "the log does not start where it was cut off");
  RAFTKV_CHECK(state.last >= before_first, "the log ends before it starts");
  RAFTKV_CHECK(terms.empty() == (state.last == before_first), "term runs do not cover the log");
  Index first = before_first;
  Term term = state.before_first.term;
  for (const TermRun& run : terms) {
    // The first run may go on with the term of the entry that was cut off before it.
    RAFTKV_CHECK(run.first > first && run.first <= state.last, "a term run starts out of order");
    RAFTKV_CHECK(
        &run == &terms.front() ? run.first == state.first && run.term >= term : run.term > term,
        "terms do not rise along the log");
    first = run.first;
    term = run.term;
  }
  Index config = before_first;
  for (const ConfigEntry& entry : state.configs) {
    RAFTKV_CHECK(entry.index > config && entry.index <= state.last,
                 "a configuration is not where the log is");
    config = entry.index;
  }
  RAFTKV_CHECK(state.hard_state.term >= term, "the hard state is older than the log");
  RAFTKV_CHECK(state.applied.index >= before_first, "entries up to " + Str(before_first) +
                                                        " were cut off, but only those up to " +
                                                        Str(state.applied.index) + " are applied");
  RAFTKV_CHECK(
      state.applied.index <= state.last,
      "entry " + Str(state.applied.index) + " is applied, but the log ends at " + Str(state.last));
}

}  // namespace

RaftLog::RaftLog(const PersistentState& state, const LogReader* reader, uint64_t cache_bytes_max)
    : reader_(reader),
      cache_bytes_max_(cache_bytes_max),
      before_first_(state.before_first),
      terms_(state.terms),
      configs_(state.membership, state.configs),
      last_(state.last),
      // What was committed stays so; hard state may lag behind what was applied.
      commit_(std::max(state.applied.index, std::min(state.hard_state.commit, state.last))),
      durable_(state.last),
      applied_(state.applied.index),
      applying_(state.applied.index),
      cached_to_(state.last),
      submitted_(state.last) {
  CheckState(state);
  RAFTKV_CHECK(Contains(state.applied),
               "the entry applied at " + Str(applied_) + " is not the one in the log");
}

LogPosition RaftLog::last_position() const {
  return {last_, terms_.empty() ? before_first_.term : terms_.back().term};
}

std::optional<Term> RaftLog::TermAt(Index index) const {
  if (index == before_first_.index) return before_first_.term;
  if (index < before_first_.index || index > last_) return std::nullopt;
  if (index >= terms_.back().first) return terms_.back().term;  // nearly always
  const auto after = std::upper_bound(terms_.begin(), terms_.end(), index,
                                      [](Index i, const TermRun& run) { return i < run.first; });
  return std::prev(after)->term;
}

bool RaftLog::Contains(LogPosition position) const {
  return TermAt(position.index) == position.term;
}

LogPosition RaftLog::LastAtOrBelow(Index index, Term term) const {
  index = std::min(index, last_);
  if (index < before_first_.index) return {index, Term()};
  for (auto run = terms_.rbegin(); run != terms_.rend(); ++run) {
    if (run->first > index) continue;
    if (run->term <= term) return {index, run->term};
    index = run->first - 1;
  }
  return before_first_;
}

void RaftLog::Push(Entry entry) {
  RAFTKV_CHECK(entry.index == last_ + 1, "an entry that does not follow the last one");
  if (terms_.empty() || entry.term != terms_.back().term) {
    // The first run may go on with the term of the entry that was cut off before it.
    RAFTKV_CHECK(entry.term >= last_position().term, "terms do not rise along the log");
    terms_.push_back({entry.index, entry.term});
  }
  last_ = entry.index;
  configs_.OnAppended(entry);
  held_bytes_ += EntryBytes(entry);
  tail_.push_back(std::move(entry));
}

void RaftLog::Append(Entry entry) { Push(std::move(entry)); }

std::vector<Entry> RaftLog::Merge(std::span<Entry> entries) {
  std::vector<Entry> removed;
  size_t known = 0;
  while (known < entries.size() && Contains(entries[known].position())) ++known;
  if (Mutated(Mutation::kTruncateDelayed)) known = 0;
  if (known == entries.size()) return removed;
  const Index from = entries[known].index;
  if (from <= last_) Truncate(from, &removed);
  for (Entry& entry : entries.subspan(known)) Push(std::move(entry));
  return removed;
}

void RaftLog::Truncate(Index from, std::vector<Entry>* removed) {
  RAFTKV_CHECK(from > commit_, "entry " + Str(from) + " of another term than the leader's is " +
                                   "committed (up to " + Str(commit_) + ")");
  // Entries read back from disk after a restart are not in memory; nobody waits for those.
  const Index in_memory = std::max(from, tail_first());
  const auto begin = tail_.begin() + static_cast<ptrdiff_t>(in_memory - tail_first());
  for (auto entry = begin; entry != tail_.end(); ++entry) held_bytes_ -= EntryBytes(*entry);
  std::move(begin, tail_.end(), std::back_inserter(*removed));
  tail_.erase(begin, tail_.end());
  last_ = from - 1;
  while (!terms_.empty() && terms_.back().first >= from) terms_.pop_back();
  configs_.OnTruncated(from);

  cached_to_ = std::min(cached_to_, last_);
  durable_ = std::min(durable_, last_);
  for (Write& write : writes_) {
    if (!Mutated(Mutation::kStaleCompletion)) write.last = std::min(write.last, last_);
  }
  if (from <= submitted_) {
    submitted_ = last_;
    truncate_from_ = from;  // lower than one that waits: that one was at most submitted_ + 1
  }
}

bool RaftLog::CutTo(Index index) {
  index = std::min(index, applied_);
  if (index <= before_first_.index) return false;
  before_first_ = {index, *TermAt(index)};
  while (terms_.size() > 1 && terms_[1].first <= first()) terms_.erase(terms_.begin());
  terms_.front().first = std::max(terms_.front().first, first());
  if (index == last_) terms_.clear();
  configs_.OnCut(index);
  // What is applied is durable and committed, and so counted as cache.
  while (!tail_.empty() && tail_.front().index <= index) {
    cached_bytes_ -= EntryBytes(tail_.front());
    tail_.pop_front();
  }
  cut_unwritten_ = true;
  return true;
}

std::vector<Entry> RaftLog::Install(LogPosition last, const Membership& membership) {
  RAFTKV_CHECK(last.index > commit_ && !Installing(),
               "a snapshot of what is committed, or a second one at a time");
  const Index in_memory = std::max(commit_ + 1, tail_first());
  std::vector<Entry> removed(tail_.begin() + static_cast<ptrdiff_t>(in_memory - tail_first()),
                             tail_.end());
  // What is committed here is on disk still, and stays so until the snapshot takes its place;
  // writes on their way vouch for no more than that.
  durable_ = std::min(durable_, commit_);
  for (Write& write : writes_) write.last = std::min(write.last, commit_);
  tail_.clear();
  terms_.clear();
  configs_.OnReplaced(membership);
  before_first_ = last;
  last_ = commit_ = submitted_ = cached_to_ = last.index;
  cached_bytes_ = held_bytes_ = 0;
  truncate_from_ = Index();
  cut_unwritten_ = false;
  install_unwritten_ = true;
  return removed;
}

void RaftLog::TakeInstall() {
  RAFTKV_CHECK(HasInstall(), "there is no snapshot to hand out");
  applying_ = before_first_.index;
  applying_tasks_.push_back({applying_, 0});
}

void RaftLog::CommitTo(Index index) {
  if (index <= commit_) return;
  RAFTKV_CHECK(index <= last_, "entry " + Str(index) +
                                   " is committed, but the log, which must hold it, ends at " +
                                   Str(last_) + ": acknowledged entries were lost");
  commit_ = index;
  TrimCache();
}

void RaftLog::Read(Index from, Index to, uint64_t bytes_max, uint64_t entries_max,
                   std::vector<Entry>* out) const {
  RAFTKV_CHECK(from >= first() && from <= to && to <= last_, "a read beyond the log");
  if (to - from >= entries_max) to = from + (entries_max - 1);
  uint64_t bytes = 0;
  if (from < tail_first()) {
    const Index disk_to = std::min(to, tail_first() - 1);
    RAFTKV_CHECK(disk_to <= durable_, "an entry is neither in memory nor on disk");
    const size_t before = out->size();
    const Status status = reader_->Read(from, disk_to, bytes_max, out);
    RAFTKV_CHECK(status.ok(), "the log can't be read back: " + status.ToString());
    RAFTKV_CHECK(out->size() > before, "reading back the log returned nothing");
    for (size_t i = before; i < out->size(); ++i) {
      const Entry& entry = (*out)[i];
      RAFTKV_CHECK(entry.index == from && Contains(entry.position()),
                   "reading back entry " + Str(from) + " of the log returned another");
      ++from;
      bytes += EntryBytes(entry);
    }
    if (from <= disk_to) return;
  }
  // `bytes` is 0 only before the first entry: headers count.
  for (; from <= to; ++from) {
    const Entry& entry = At(from);
    bytes += EntryBytes(entry);
    if (bytes > bytes_max && bytes > EntryBytes(entry)) return;
    out->push_back(entry);
  }
}

void RaftLog::TakeWrite(uint64_t seq, Index* truncate_from, std::vector<Entry>* entries) {
  if (!truncate_from_.none()) *truncate_from = std::exchange(truncate_from_, Index());
  const auto begin = tail_.end() - static_cast<ptrdiff_t>(last_ - submitted_);
  entries->assign(begin, tail_.end());
  submitted_ = last_;
  cut_unwritten_ = install_unwritten_ = false;
  writes_.push_back({seq, last_});
}

void RaftLog::OnWritten(uint64_t seq) {
  while (!writes_.empty() && writes_.front().seq <= seq) {
    durable_ = std::max(durable_, writes_.front().last);
    writes_.pop_front();
  }
  TrimCache();
}

bool RaftLog::HasApply(uint64_t bytes_max) const {
  return applying_ >= before_first_.index && applying_ < std::min(commit_, durable_) &&
         (applying_tasks_.empty() || applying_bytes_ < bytes_max);
}

std::vector<Entry> RaftLog::TakeApply(uint64_t bytes_max) {
  std::vector<Entry> entries;
  if (!HasApply(bytes_max)) return entries;
  const Index from = applying_ + 1;
  Read(from, std::min(commit_, durable_), bytes_max - std::min(bytes_max, applying_bytes_),
       UINT64_MAX, &entries);
  uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += EntryBytes(entry);
  applying_ = entries.back().index;
  applying_tasks_.push_back({applying_, bytes});
  applying_bytes_ += bytes;
  return entries;
}

void RaftLog::OnApplied(Index index) {
  if (index <= applied_) return;
  RAFTKV_CHECK(index <= applying_, "entry " + Str(index) + " was applied unasked");
  applied_ = index;
  while (!applying_tasks_.empty() && applying_tasks_.front().last <= index) {
    applying_bytes_ -= applying_tasks_.front().bytes;
    applying_tasks_.pop_front();
  }
}

void RaftLog::TrimCache() {
  const Index droppable = std::min(commit_, durable_);
  while (cached_to_ < droppable) {
    const uint64_t bytes = EntryBytes(At(++cached_to_));
    held_bytes_ -= bytes;
    cached_bytes_ += bytes;
  }
  while (cached_bytes_ > cache_bytes_max_) {
    cached_bytes_ -= EntryBytes(tail_.front());
    tail_.pop_front();
  }
}

}  // namespace raftkv::raft
