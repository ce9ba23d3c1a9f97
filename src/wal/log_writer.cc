#include "wal/log_writer.h"

#include <chrono>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <pthread.h>
#include <spdlog/spdlog.h>

namespace raftkv::wal {
namespace {

// Anything but success ends the process; see the class comment.
void AbortUnlessOk(const Status& status, const char* what) {
  if (status.ok()) return;
  spdlog::critical(
      "{} the Raft log failed, the process ends so that nothing is acknowledged that "
      "may not be on disk; once the cause is gone (a full disk: make room) start the node again, "
      "error={}",
      what, status.ToString());
  spdlog::default_logger()->flush();
  std::abort();
}

uint64_t MicrosecondsSince(std::chrono::steady_clock::time_point start) {
  const auto took = std::chrono::steady_clock::now() - start;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
}

}  // namespace

LogWriter::LogWriter(store::Engine* engine, LogStore* log, Fence* fence, OnDurable on_durable,
                     OnTime on_sync, OnTime on_deleted)
    : engine_(engine),
      log_(log),
      fence_(fence),
      on_durable_(std::move(on_durable)),
      on_sync_(std::move(on_sync)),
      on_deleted_(std::move(on_deleted)),
      queue_(std::numeric_limits<size_t>::max()),
      thread_([this] { Run(); }) {}

LogWriter::~LogWriter() { Stop(); }

void LogWriter::Submit(raft::AppendTask task) { queue_.Push(std::move(task)); }

void LogWriter::Stop() {
  queue_.Close();
  if (thread_.joinable()) thread_.join();
}

void LogWriter::Run() {
  pthread_setname_np(pthread_self(), "log-writer");
  store::StopCountingOnThisThread();
  // While entries are to be deleted, a step is made whenever nothing waits to be written, and after
  // this many batches even then, so that the log does not grow without bound under constant load.
  constexpr int kBatchesPerStep = 16;
  std::vector<raft::AppendTask> tasks;
  int batches = 0;
  for (;;) {
    std::optional<std::chrono::steady_clock::time_point> wait_until;
    if (log_->HasLeftovers()) wait_until.emplace();  // long past
    if (!queue_.Drain(&tasks, wait_until)) break;
    if (!tasks.empty()) {
      Write(tasks);
      on_durable_(tasks);
    }
    if (tasks.empty() || ++batches % kBatchesPerStep == 0) DeleteLeftovers();
  }
  while (log_->HasLeftovers()) DeleteLeftovers();
}

void LogWriter::DeleteLeftovers() {
  if (!log_->HasLeftovers()) return;
  const auto start = std::chrono::steady_clock::now();
  AbortUnlessOk(log_->DeleteLeftovers(), "deleting from");
  if (on_deleted_) on_deleted_(MicrosecondsSince(start));
}

void LogWriter::Write(std::span<raft::AppendTask> tasks) {
  LogWriterStats added;
  rocksdb::WriteBatch batch;
  for (const raft::AppendTask& task : tasks) {
    AbortUnlessOk(log_->AddToBatch(task, &batch), "preparing a write to");
    for (const Entry& entry : task.entries) added.bytes += entry.bytes().size();
    added.entries += task.entries.size();
    ++added.tasks;
  }
  const raft::AppendTask& newest = tasks.back();
  if (fence_ != nullptr) {
    const HardState& now = log_->hard_state();
    AbortUnlessOk(fence_->Cover(now.term, now.vote, newest.last, newest.owed), "guarding");
  }
  // Tasks that only carry messages promise what is already on disk: every earlier batch was synced
  // before this one was looked at.
  if (batch.Count() > 0) {
    // Not sync=true: writes to kv would then wait behind the sync (DESIGN: 13 ms at the median when
    // a sync takes 20). SyncWAL on this thread keeps nobody waiting but us.
    rocksdb::WriteOptions write;
    write.sync = false;
    write.disableWAL = false;
    AbortUnlessOk(store::FromRocksDb(engine_->db()->Write(write, &batch), "write"), "writing to");
    Sync();
    added.syncs = 1;
    if (fence_ != nullptr) AbortUnlessOk(fence_->Note(newest.last), "guarding");
  }
  std::lock_guard lock(stats_mutex_);
  stats_.syncs += added.syncs;
  stats_.tasks += added.tasks;
  stats_.entries += added.entries;
  stats_.bytes += added.bytes;
}

void LogWriter::Sync() {
  const auto start = std::chrono::steady_clock::now();
  AbortUnlessOk(store::FromRocksDb(engine_->db()->SyncWAL(), "sync"), "syncing");
  if (on_sync_) on_sync_(MicrosecondsSince(start));
}

LogWriterStats LogWriter::stats() const {
  std::lock_guard lock(stats_mutex_);
  return stats_;
}

size_t LogWriter::queue_depth() const { return queue_.size(); }

}  // namespace raftkv::wal
