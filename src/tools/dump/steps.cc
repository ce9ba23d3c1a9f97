#include "tools/dump/steps.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "tools/dump/child.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kStepDone[] = "step_done";

// What a child says, a JSON record a line; a crash leaves what was said before.
class Messages {
 public:
  Messages() : fd_(memfd_create("raftkv-dump", MFD_CLOEXEC)) {}
  ~Messages() { close(fd_); }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  bool ok() const { return fd_ >= 0; }

  // The child's. At the end of the file whoever wrote before, so that nothing has to be shared but
  // the file.
  void Send(const Json& record) {
    const std::string line = record.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    std::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t n = write(fd_, rest.data(), rest.size());
      if (n < 0 && errno != EINTR) return;
      if (n > 0) rest.remove_prefix(static_cast<size_t>(n));
    }
  }

  // The parent's: the next whole line.
  std::optional<Json> Receive() {
    size_t end = 0;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      char bytes[4096];
      const ssize_t n = pread(fd_, bytes, sizeof(bytes), read_to_);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      read_to_ += n;
      buffer_.append(bytes, static_cast<size_t>(n));
    }
    Json record = Json::parse(buffer_.substr(0, end));
    buffer_.erase(0, end + 1);
    return record;
  }

 private:
  const int fd_;
  off_t read_to_ = 0;
  std::string buffer_;
};

}  // namespace

Status RunSteps(const std::vector<Step>& steps, uint64_t shown_max,
                const std::function<void(const Json&)>& show) {
  Messages messages;
  if (!messages.ok()) {
    return Status(Code::kIoError, std::string("no memory file: ") + std::strerror(errno));
  }
  bool first_ok = false;
  for (size_t next = 0; next < steps.size();) {
    const StatusOr<std::string> ended = CallInChild([&]() -> StatusOr<std::string> {
      Findings findings(shown_max, [&](const Json& record) { messages.Send(record); });
      bool may_need_first = next == 0 || first_ok;
      for (size_t i = next; i < steps.size(); ++i) {
        const bool ok = !(steps[i].needs_first && !may_need_first) && steps[i].run(&findings);
        if (i == 0) may_need_first = ok;
        messages.Send({{"type", kStepDone}, {"ok", ok}});
      }
      return std::string();
    });
    while (const std::optional<Json> record = messages.Receive()) {
      if (record->value("type", "") != kStepDone) {
        show(*record);
        continue;
      }
      if (next == 0) first_ok = record->value("ok", false);
      ++next;
    }
    if (ended.ok()) break;
    if (ended.status().code() != Code::kCorruption || next >= steps.size()) return ended.status();
    Findings(shown_max, show)
        .Problem({"crash",
                  {},
                  steps[next].name + ": " + ended.status().message(),
                  "RocksDB met something that can't be, and gave up; a node would, too. What this "
                  "step would have found behind it is not known",
                  kReplaceAdvice});
    ++next;
  }
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
