#include "torture/recorder.h"

#include <utility>

#include "check/history_file.h"

namespace raftkv::torture {
namespace {

constexpr size_t kMalformedMax = 10;

}  // namespace

int64_t NowNs() {
  using Clock = std::chrono::steady_clock;
  static const Clock::time_point zero = Clock::now();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - zero).count();
}

StatusOr<std::unique_ptr<Recorder>> Recorder::Make(const std::string& path) {
  std::unique_ptr<Recorder> recorder(new Recorder());
  recorder->file_.open(path, std::ios::binary | std::ios::trunc);
  if (!recorder->file_) return Status(Code::kIoError, "can't open " + path);
  return recorder;
}

void Recorder::Add(check::Operation op, int64_t end_ns, const std::string& error) {
  const std::string line = check::FormatOperation(op);
  std::lock_guard lock(mutex_);
  file_ << line << '\n';
  const auto second = static_cast<size_t>(end_ns / 1'000'000'000);
  if (seconds_.size() <= second) seconds_.resize(second + 1);
  Second& now = seconds_[second];
  if (op.outcome != check::Outcome::kOk) ++errors_[error];
  if (op.kind != "get" && op.kind != "range") {
    ClientProgress& client = clients_[op.client];
    if (op.outcome == check::Outcome::kOk) ++client.writes_ok;
    client.last_error = error;
  }
  switch (op.outcome) {
    case check::Outcome::kOk:
      ++ok_;
      ++now.ok;
      now.latencies_us.push_back(static_cast<uint32_t>((end_ns - op.invoke_ns) / 1000));
      break;
    case check::Outcome::kFail:
      ++now.failed;
      break;
    case check::Outcome::kUnknown:
      ++now.unknown;
      break;
  }
  history_.push_back(std::move(op));
}

void Recorder::AddMalformed(const std::string& what) {
  std::lock_guard lock(mutex_);
  if (malformed_.size() < kMalformedMax) malformed_.push_back(what);
}

std::vector<std::string> Recorder::malformed() const {
  std::lock_guard lock(mutex_);
  return malformed_;
}

uint64_t Recorder::ok() const {
  std::lock_guard lock(mutex_);
  return ok_;
}

uint64_t Recorder::operations() const {
  std::lock_guard lock(mutex_);
  return history_.size();
}

std::map<std::string, ClientProgress> Recorder::clients() const {
  std::lock_guard lock(mutex_);
  return clients_;
}

Status Recorder::Close() {
  std::lock_guard lock(mutex_);
  file_.close();
  return file_.fail() ? Status(Code::kIoError, "the history could not be written to its end")
                      : Status::Ok();
}

}  // namespace raftkv::torture
