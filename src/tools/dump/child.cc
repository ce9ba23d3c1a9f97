#include "tools/dump/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <string_view>
#include <utility>

#include "common/check.h"

namespace raftkv::tools::dump {
namespace {

// The child's report, for its crash handler.
Report* g_report = nullptr;

// The child, for the signals that this process passes on to it.
volatile sig_atomic_t g_child = 0;

void PassOnSignal(int signal_number) {
  if (g_child > 0) kill(g_child, signal_number);
}

// Writes what is buffered. Write to a file descriptor is async-signal-safe; the buffer is not being
// changed, since the thread that changes it is either the one that crashed, inside RocksDB, or
// waits for it. Should that be wrong the process dies a second time, as it was about to anyway.
void OnCrash(int signal_number) {
  signal(signal_number, SIG_DFL);
  if (g_report != nullptr) g_report->Flush();
  raise(signal_number);
}

[[noreturn]] void BeChild(Output output, ReportState* state, int stderr_fd,
                          const std::function<int(Report*)>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // What is shown on the terminal must come before what is written after it, so it does not take
  // the way through the pipe.
  if (isatty(STDERR_FILENO)) output.terminal_fd = dup(STDERR_FILENO);
  dup2(stderr_fd, STDERR_FILENO);
  close(stderr_fd);
  int code = kExitCouldNotRun;
  {
    Report report(output, state);
    g_report = &report;
    for (const int crash : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(crash, OnCrash);
    code = work(&report);
    // Who could find out nothing says nothing, unless it is too late.
    if (code != kExitCouldNotRun || report.begun()) report.Finish();
    if (!report.Flush()) {
      std::fprintf(stderr, "raftkv-dump: the output could not be written: %s\n",
                   std::strerror(errno));
      code = kExitCouldNotRun;
    }
    g_report = nullptr;
  }
  std::fflush(stderr);
  _exit(code);
}

// Reads what the child writes to standard error until it closes it, and passes it on if wanted;
// returns the last line.
std::string LastLine(int from, bool pass_on) {
  std::string line;
  std::string last;
  char bytes[4096];
  for (;;) {
    const ssize_t n = read(from, bytes, sizeof(bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (pass_on) std::fwrite(bytes, 1, static_cast<size_t>(n), stderr);
    for (ssize_t i = 0; i < n; ++i) {
      if (bytes[i] != '\n') {
        line.push_back(bytes[i]);
      } else if (!line.empty()) {
        last = std::exchange(line, "");
      }
    }
  }
  return line.empty() ? last : line;
}

// While it lives, what should end the process ends the child, and this process lives on to clean
// up.
class SignalsPassedOn {
 public:
  SignalsPassedOn() {
    for (size_t i = 0; i < std::size(kSignals); ++i) old_[i] = signal(kSignals[i], PassOnSignal);
    // The child dies of a reader that went away; what is left to write here may fail.
    old_pipe_ = signal(SIGPIPE, SIG_IGN);
  }
  ~SignalsPassedOn() { Restore(); }
  SignalsPassedOn(const SignalsPassedOn&) = delete;
  SignalsPassedOn& operator=(const SignalsPassedOn&) = delete;

  void Restore() const {
    for (size_t i = 0; i < std::size(kSignals); ++i) signal(kSignals[i], old_[i]);
    signal(SIGPIPE, old_pipe_);
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  sighandler_t old_[std::size(kSignals)];
  sighandler_t old_pipe_;
};

// All of a file in memory.
std::string ReadAll(int fd) {
  std::string out;
  char bytes[4096];
  for (ssize_t n; (n = pread(fd, bytes, sizeof(bytes), static_cast<off_t>(out.size()))) > 0;) {
    out.append(bytes, static_cast<size_t>(n));
  }
  return out;
}

// Ended from outside, not by what it read.
bool WasStopped(int signal_number) {
  return signal_number == SIGINT || signal_number == SIGTERM || signal_number == SIGHUP ||
         signal_number == SIGPIPE;
}

int WaitFor(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Memory that this process and its children share.
class SharedState {
 public:
  SharedState()
      : memory_(mmap(nullptr, sizeof(ReportState), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    RAFTKV_CHECK(memory_ != MAP_FAILED, std::strerror(errno));
    new (memory_) ReportState();
  }
  ~SharedState() { munmap(memory_, sizeof(ReportState)); }
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;

  ReportState* get() { return static_cast<ReportState*>(memory_); }

 private:
  void* const memory_;
};

std::string CrashText(int status, const std::string& last_words) {
  return std::string("reading the directory ended in a crash (") + strsignal(WTERMSIG(status)) +
         "): " + (last_words.empty() ? "no message" : last_words);
}

[[noreturn]] void BeCalled(int out_fd, int stderr_fd,
                           const std::function<StatusOr<std::string>()>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(stderr_fd, STDERR_FILENO);
  // The crash is for the caller to report, and what its parent has buffered is not ours to write.
  for (const int crash : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(crash, SIG_DFL);
  const StatusOr<std::string> result = work();
  const int code = result.ok() ? 0 : static_cast<int>(result.status().code());
  const std::string& bytes = result.ok() ? *result : result.status().message();
  _exit(WriteAll(out_fd, bytes) ? code : static_cast<int>(Code::kIoError));
}

}  // namespace

int RunInChild(Output output, const std::function<int(Report*)>& work) {
  int pipe_fds[2];
  std::fflush(nullptr);
  if (pipe(pipe_fds) != 0) {
    std::fprintf(stderr, "raftkv-dump: no pipe: %s\n", std::strerror(errno));
    return kExitCouldNotRun;
  }
  SharedState state;
  const SignalsPassedOn signals;
  const pid_t child = fork();
  if (child == 0) {
    signals.Restore();
    close(pipe_fds[0]);
    BeChild(output, state.get(), pipe_fds[1], work);
  }
  g_child = child;
  close(pipe_fds[1]);
  int code = kExitCouldNotRun;
  if (child < 0) {
    std::fprintf(stderr, "raftkv-dump: can't fork: %s\n", std::strerror(errno));
  } else {
    const std::string last_words = LastLine(pipe_fds[0], /*pass_on=*/true);
    const int status = WaitFor(child);
    if (WIFEXITED(status)) {
      code = WEXITSTATUS(status);
    } else if (!WasStopped(WTERMSIG(status))) {
      Report report(output, state.get());
      report.Problem(CrashText(status, last_words));
      report.Finish();
      code = kExitProblems;
    }
  }
  close(pipe_fds[0]);
  g_child = 0;
  return code;
}

StatusOr<std::string> CallInChild(const std::function<StatusOr<std::string>()>& work) {
  // The result goes through a file in memory, so that there is one pipe to wait for.
  const int result_fd = memfd_create("raftkv-dump", MFD_CLOEXEC);
  int pipe_fds[2];
  if (result_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return Status(Code::kIoError, std::string("no pipe: ") + std::strerror(errno));
  }
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    close(pipe_fds[0]);
    BeCalled(result_fd, pipe_fds[1], work);
  }
  close(pipe_fds[1]);
  Status failed = Status::Ok();
  if (child < 0) {
    failed = Status(Code::kIoError, std::string("can't fork: ") + std::strerror(errno));
  }
  const std::string last_words = LastLine(pipe_fds[0], /*pass_on=*/false);
  close(pipe_fds[0]);
  const int status = child < 0 ? 0 : WaitFor(child);
  const std::string result = ReadAll(result_fd);
  close(result_fd);
  if (!failed.ok()) return failed;
  if (!WIFEXITED(status)) return Status(Code::kCorruption, CrashText(status, last_words));
  if (WEXITSTATUS(status) != 0) return Status(static_cast<Code>(WEXITSTATUS(status)), result);
  return result;
}

}  // namespace raftkv::tools::dump
