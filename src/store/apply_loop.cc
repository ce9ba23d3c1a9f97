#include "store/apply_loop.h"

#include <chrono>
#include <ctime>
#include <iterator>
#include <limits>
#include <string>

#include <pthread.h>

#include "common/check.h"

namespace raftkv::store {
namespace {

using Clock = std::chrono::steady_clock;

// Of the calling thread.
uint64_t CpuUs() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000 +
         static_cast<uint64_t>(used.tv_nsec) / 1000;
}

}  // namespace

// The mailbox has no bound of its own: what is committed must be applied, and the core caps what is
// in flight.
ApplyLoop::ApplyLoop(KvStore* store, const ApplyLoopOptions& options, OnApplied on_applied)
    : store_(store),
      options_(options),
      on_applied_(std::move(on_applied)),
      mailbox_(std::numeric_limits<size_t>::max()),
      applied_index_(store->applied().position.index.value()),
      thread_([this] { Run(); }) {}

ApplyLoop::~ApplyLoop() { Stop(); }

void ApplyLoop::Submit(ApplyBatch batch) {
  RAFTKV_CHECK(mailbox_.Push(std::move(batch)), "entries were submitted to a stopped apply loop");
}

void ApplyLoop::SwitchTo(uint64_t staged_id, Index index) {
  RAFTKV_CHECK(mailbox_.Push(Switch{staged_id, index}),
               "a snapshot was installed in a stopped apply loop");
}

void ApplyLoop::WhenApplied(Index index, std::function<void(bool applied)> ready) {
  if (applied_index_.load() >= index.value()) {
    ready(true);
    return;
  }
  // Push takes its argument even when it fails, so the callback is shared with us until then.
  auto shared = std::make_shared<std::function<void(bool)>>(std::move(ready));
  if (!mailbox_.Push(AppliedWaiter{index, [shared](bool applied) { (*shared)(applied); }})) {
    (*shared)(false);
  }
}

void ApplyLoop::WhenCompacted(int64_t revision, std::function<void(bool compacted)> done) {
  auto shared = std::make_shared<std::function<void(bool)>>(std::move(done));
  if (!mailbox_.Push(CompactedWaiter{revision, [shared](bool ok) { (*shared)(ok); }})) {
    (*shared)(false);
  }
}

void ApplyLoop::Stop() {
  mailbox_.Close();
  std::lock_guard lock(stop_mutex_);
  if (thread_.joinable()) thread_.join();
}

size_t ApplyLoop::queue_depth() const { return mailbox_.size(); }

void ApplyLoop::Run() {
  pthread_setname_np(pthread_self(), "apply");
  std::vector<Item> items;
  for (;;) {
    // With a compaction under way the thread looks for work and does not wait for it.
    const bool compacting = CompactionPending();
    const bool open = compacting ? mailbox_.Drain(&items, Clock::now()) : mailbox_.Drain(&items);
    for (Item& item : items) {
      if (auto* batch = std::get_if<ApplyBatch>(&item)) {
        TakeBatch(std::move(*batch));
      } else if (auto* applied = std::get_if<AppliedWaiter>(&item)) {
        applied_waiters_.emplace(applied->index.value(), std::move(applied->ready));
      } else if (auto* compacted = std::get_if<CompactedWaiter>(&item)) {
        compacted_waiters_.emplace(compacted->revision, std::move(compacted->done));
      } else if (auto* change = std::get_if<Switch>(&item)) {
        CarryOut(*change);
      }
    }
    ApplyPending();
    if (!open) break;
    // One step, however much there was to apply: compaction must not starve, nor hold up writes.
    if (CompactionPending()) store_->CompactStep(options_.compact_step_versions);
    AnswerWaiters();
  }
  AnswerWaiters();
  FailWaiters();
}

// Adds a batch to what waits, and applies when that is large enough.
void ApplyLoop::TakeBatch(ApplyBatch batch) {
  size_t waiter = 0;
  for (size_t i = 0; i < batch.entries.size(); ++i) {
    if (waiter < batch.waiters.size() && batch.waiters[waiter].first == i) {
      pending_.waiters.emplace_back(pending_.entries.size(),
                                    std::move(batch.waiters[waiter++].second));
    }
    pending_bytes_ += EntryBytes(batch.entries[i]);
    pending_.entries.push_back(std::move(batch.entries[i]));
    if (pending_.entries.size() >= options_.batch_entries_max ||
        pending_bytes_ >= options_.batch_bytes_max) {
      ApplyPending();
    }
  }
  RAFTKV_CHECK(waiter == batch.waiters.size(), "a waiter for an entry that is not in its batch");
}

void ApplyLoop::ApplyPending() {
  if (pending_.entries.empty()) return;
  awaited_.assign(pending_.entries.size(), false);
  for (const auto& [position, callback] : pending_.waiters) awaited_[position] = true;
  results_.resize(pending_.entries.size());
  size_t applied = 0;
  size_t answered = 0;
  while (applied < pending_.entries.size()) ApplySome(&applied, &answered);
  pending_.entries.clear();
  pending_.waiters.clear();
  pending_bytes_ = 0;
  results_.clear();
  AnswerWaiters();
}

// One RocksDB batch. `applied` and `answered`: how many pending entries and waiters are done with.
void ApplyLoop::ApplySome(size_t* applied, size_t* answered) {
  const Clock::time_point start = Clock::now();
  const uint64_t cpu_start = CpuUs();
  const size_t first = *applied;
  *applied = store_->ApplySome(pending_.entries, first, awaited_, &results_);
  apply_cpu_us_.fetch_add(CpuUs() - cpu_start, std::memory_order_relaxed);
  const Index last = pending_.entries[*applied - 1].index;
  // Before any callback: who hears that an entry is applied may ask for it at once.
  applied_index_.store(last.value());
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  auto& waiters = pending_.waiters;
  for (; *answered < waiters.size() && waiters[*answered].first < *applied; ++*answered) {
    auto& [position, callback] = waiters[*answered];
    callback(std::move(results_[position]));
  }
  // The next batch may have large answers too.
  if (*applied < pending_.entries.size()) {
    for (size_t i = first; i < *applied; ++i) results_[i] = {};
  }
  if (on_applied_) on_applied_(last, static_cast<uint64_t>(took.count()));
}

// A waiter for a compaction gets its answer from the new state as well: its compact revision is no
// lower than the one that was waited for, and the walk towards it goes on there.
void ApplyLoop::CarryOut(const Switch& change) {
  ApplyPending();  // what was submitted before; its waiters want their results
  const Clock::time_point start = Clock::now();
  store_->SwitchTo(change.staged_id);
  const Index applied = store_->applied().position.index;
  RAFTKV_CHECK(applied == change.index,
               "the snapshot of index " + std::to_string(change.index.value()) +
                   " turned out to be of index " + std::to_string(applied.value()));
  applied_index_.store(applied.value());
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  if (on_applied_) on_applied_(applied, static_cast<uint64_t>(took.count()));
  AnswerWaiters();
}

void ApplyLoop::AnswerWaiters() {
  const uint64_t applied = applied_index_.load();
  while (!applied_waiters_.empty() && applied_waiters_.begin()->first <= applied) {
    auto ready = std::move(applied_waiters_.extract(applied_waiters_.begin()).mapped());
    ready(true);
  }
  if (compacted_waiters_.empty()) return;
  const int64_t compacted_to = store_->applied().compacted_to;
  while (!compacted_waiters_.empty() && compacted_waiters_.begin()->first <= compacted_to) {
    auto done = std::move(compacted_waiters_.extract(compacted_waiters_.begin()).mapped());
    done(true);
  }
}

void ApplyLoop::FailWaiters() {
  for (auto& [index, ready] : applied_waiters_) ready(false);
  for (auto& [revision, done] : compacted_waiters_) done(false);
  applied_waiters_.clear();
  compacted_waiters_.clear();
}

bool ApplyLoop::CompactionPending() const {
  const AppliedRecord applied = store_->applied();
  return applied.compacted_to < applied.compact_revision;
}

}  // namespace raftkv::store
