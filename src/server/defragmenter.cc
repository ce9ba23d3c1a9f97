#include "server/defragmenter.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <map>
#include <string>

#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kGiveUpPoll = std::chrono::milliseconds(100);

bool IsReady(const std::shared_future<Status>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

Defragmenter::Defragmenter(store::Engine* engine, uint64_t rate_bytes)
    : engine_(engine), rate_bytes_(rate_bytes) {}

Defragmenter::~Defragmenter() { Stop(); }

void Defragmenter::Stop() {
  std::shared_future<Status> run;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    run = run_;
  }
  stop_.notify_all();
  if (run.valid()) run.wait();
}

Status Defragmenter::Run(const std::function<bool()>& give_up) {
  std::shared_future<Status> run;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return store::ErrStopped();
    if (!run_.valid() || IsReady(run_)) {
      run_ = std::async(std::launch::async, [this] { return Rewrite(); }).share();
    }
    run = run_;
  }
  while (run.wait_for(kGiveUpPoll) != std::future_status::ready) {
    if (give_up()) return {Code::kCancelled, "defragmentation goes on without the caller"};
  }
  return run.get();
}

// Piece by piece, so that neither the disk nor a stop waits for the whole of it. A piece ends where
// a table of the lowest level does.
Status Defragmenter::Rewrite() {
  const auto begin = Clock::now();
  const uint64_t before = engine_->DiskBytes();
  const store::FamilyHandle kv = engine_->kv();
  RAFTKV_RETURN_IF_ERROR(engine_->FlushKv());
  rocksdb::ColumnFamilyMetaData data;
  engine_->db()->GetColumnFamilyMetaData(kv.get(), &data);
  std::map<std::string, uint64_t> pieces;  // by their last key: bytes
  for (const rocksdb::LevelMetaData& level : data.levels) {
    if (level.level == 0 || level.files.empty()) continue;
    pieces.clear();
    for (const rocksdb::SstFileMetaData& file : level.files) pieces[file.largestkey] = file.size;
  }
  uint64_t rewritten = 0;
  std::string from;
  for (const auto& [to, bytes] : pieces) {
    RAFTKV_RETURN_IF_ERROR(Compact(kv, from, &to));
    from = to + '\0';  // the next piece does not touch this one's table again
    rewritten += bytes;
    if (rate_bytes_ > 0) Pause(begin + std::chrono::milliseconds(rewritten * 1000 / rate_bytes_));
  }
  RAFTKV_RETURN_IF_ERROR(Compact(kv, from, nullptr));
  spdlog::info("defragmented pieces={} disk_bytes={}..{} seconds={:.3f}", pieces.size() + 1, before,
               engine_->DiskBytes(), std::chrono::duration<double>(Clock::now() - begin).count());
  return Status::Ok();
}

// From `from` ("": the beginning) to `to` (null: the end).
Status Defragmenter::Compact(const store::FamilyHandle& kv, const std::string& from,
                             const std::string* to) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return store::ErrStopped();
  }
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  const rocksdb::Slice first(from);
  const rocksdb::Slice last(to == nullptr ? rocksdb::Slice() : rocksdb::Slice(*to));
  return store::FromRocksDb(
      engine_->db()->CompactRange(options, kv.get(), from.empty() ? nullptr : &first,
                                  to == nullptr ? nullptr : &last),
      "defragmenting");
}

void Defragmenter::Pause(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  stop_.wait_until(lock, until, [this] { return stopped_; });
}

}  // namespace raftkv::server
