#include "server/maintenance.h"

#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace raftkv::server {
namespace {

constexpr auto kStepEvery = std::chrono::milliseconds(100);
constexpr auto kSpaceCheckEvery = std::chrono::seconds(1);
constexpr uint64_t kCutStepMax = 200'000;

double Seconds(Maintenance::Clock::time_point since) {
  return std::chrono::duration<double>(Maintenance::Clock::now() - since).count();
}

}  // namespace

StatusOr<uint64_t> FreeBytes(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) {
    return Status(Code::kIoError,
                  "can't see the free space of " + path + ": " + std::strerror(errno));
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

Maintenance::Maintenance(const MaintenanceOptions& options, MaintenanceHooks hooks)
    : options_(options), hooks_(std::move(hooks)) {}

Maintenance::~Maintenance() { Stop(); }

void Maintenance::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Maintenance::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Maintenance::Run() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    lock.unlock();
    Step(Clock::now());
    lock.lock();
    wake_.wait_for(lock, kStepEvery, [this] { return stopped_; });
  }
}

void Maintenance::Step(Clock::time_point now) {
  hooks_.step(now);
  durable_before_ = durable_;
  const StatusOr<Index> durable = hooks_.durable_applied();
  if (durable.ok()) durable_ = *durable;
  const Index applied = hooks_.applied();
  const uint64_t bytes = hooks_.bytes_applied();
  bytes_.Sample(applied, bytes);
  apply_us_.Sample(applied, hooks_.apply_us());
  tail_bytes_.Sample(applied, bytes);
  FlushIfDue(applied);
  CutIfDue();
  FlushLogIfDue();
  WatchSpace(now);
}

void Maintenance::FlushIfDue(Index applied) {
  const ReplayCost cost{bytes_.After(durable_), apply_us_.After(durable_)};
  if (!FlushIsDue(options_.flush, applied, durable_, cost)) return;
  const auto begin = Clock::now();
  const Status flushed = hooks_.flush();
  const double seconds = Seconds(begin);
  if (!flushed.ok()) {
    spdlog::error("can't flush the applied state: {}", flushed.message());
    return;
  }
  spdlog::debug("flushed the applied state index={} seconds={:.3f}", applied.value(), seconds);
  const StatusOr<Index> durable = hooks_.durable_applied();
  if (durable.ok()) durable_ = *durable;
  hooks_.took(UpkeepTask::kFlush, seconds);
  std::lock_guard lock(mutex_);
  ++stats_.flushes;
  stats_.flush_seconds += seconds;
}

// How many entries to keep behind the durable state: fewer where they are large.
uint64_t Maintenance::TailEntries() {
  const Index far = tail_bytes_.Back(options_.log_tail_bytes);
  if (far.none()) return options_.log_tail_entries;
  const uint64_t near = durable_ > far ? durable_ - far : 0;
  return std::min(options_.log_tail_entries, near);
}

void Maintenance::CutIfDue() {
  CutState state;
  state.first = hooks_.log_first();
  state.durable_applied = durable_;
  state.tail = TailEntries();
  state.step_min = std::max<uint64_t>(1, state.tail / 4);
  state.step_max = std::max(kCutStepMax, state.step_min);
  const Index target = CutTarget(state);
  // One that was asked for and does not show yet is on its way.
  if (target.none() || target <= cut_asked_ || hooks_.hold_cut()) return;
  hooks_.cut(target);
  cut_asked_ = target;
  std::lock_guard lock(mutex_);
  ++stats_.cuts_asked;
}

// Once kv is flushed, what keeps the WAL is the memtables of the log and of raft_meta, and a start
// reads all of the WAL. So they are flushed as well, but a step later: by then the log is cut, and
// the entries that went are not written out to a table only to be deleted from it.
void Maintenance::FlushLogIfDue() {
  if (durable_ == log_flushed_at_ || durable_ != durable_before_) return;
  const auto begin = Clock::now();
  const Status flushed = hooks_.flush_log();
  if (!flushed.ok()) {
    spdlog::error("can't flush the log: {}", flushed.message());
    return;
  }
  log_flushed_at_ = durable_;
  hooks_.took(UpkeepTask::kFlushLog, Seconds(begin));
  std::lock_guard lock(mutex_);
  ++stats_.log_flushes;
}

void Maintenance::WatchSpace(Clock::time_point now) {
  if (options_.free_space_reserve_bytes == 0 || now < next_space_check_) return;
  next_space_check_ = now + kSpaceCheckEvery;
  const auto begin = Clock::now();
  const StatusOr<uint64_t> free = hooks_.free_bytes();
  hooks_.took(UpkeepTask::kSpace, Seconds(begin));
  if (!free.ok()) {
    spdlog::error("{}", free.status().message());
    return;
  }
  {
    std::lock_guard lock(mutex_);
    stats_.free_bytes = *free;
  }
  const std::optional<bool> change =
      SpaceAlarmChange(hooks_.space_alarm_raised(), *free, options_.free_space_reserve_bytes);
  if (!change) return;
  spdlog::warn("{} the NOSPACE alarm free_bytes={} reserve_bytes={}",
               *change ? "raising" : "lowering", *free, options_.free_space_reserve_bytes);
  hooks_.change_alarm(*change);
}

MaintenanceStats Maintenance::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace raftkv::server
