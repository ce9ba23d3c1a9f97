#include "tools/support/output_file.h"

#include <unistd.h>

#include <atomic>
#include <deque>
#include <filesystem>

#include "common/check.h"

namespace raftkv::tools {

namespace fs = std::filesystem;

namespace {

// What the handler reads. It may run at any time and on any thread: what was once here is kept.
std::atomic<const char*> removed_on_signal{nullptr};
static_assert(std::atomic<const char*>::is_always_lock_free, "a signal handler must not lock");

// Only what is async-signal-safe. It is installed with SA_RESETHAND and SA_NODEFER, so that the
// signal, raised again, ends the process as it would have without it.
void RemoveAndEnd(int signal) {
  if (const char* const path = removed_on_signal.load()) unlink(path);
  raise(signal);
}

}  // namespace

StatusOr<OutputPlace> PlaceOutput(const std::string& path) {
  std::error_code error;
  OutputPlace out{path, ""};
  if (fs::is_symlink(path, error)) {
    out.path = fs::weakly_canonical(path, error);
    if (error) return Status(Code::kInvalidArgument, path + ": " + error.message());
  }
  if (fs::exists(out.path, error) && !fs::is_regular_file(out.path, error)) {
    return Status(Code::kInvalidArgument, path + " is there, and no file: name another");
  }
  out.part = out.path + "." + std::to_string(getpid()) + ".part";
  return out;
}

RemovedOnSignal::RemovedOnSignal(const std::string& path) {
  static auto* const paths = new std::deque<std::string>();
  RAFTKV_CHECK(removed_on_signal.load() == nullptr, "two files at a time to remove on a signal");
  removed_on_signal = paths->emplace_back(path).c_str();
  struct sigaction action = {};
  action.sa_handler = RemoveAndEnd;
  action.sa_flags = SA_RESETHAND | SA_NODEFER;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler == SIG_DFL) sigaction(kSignals[i], &action, nullptr);
  }
}

RemovedOnSignal::~RemovedOnSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (before_[i].sa_handler == SIG_DFL) sigaction(kSignals[i], &before_[i], nullptr);
  }
  removed_on_signal = nullptr;
}

}  // namespace raftkv::tools
