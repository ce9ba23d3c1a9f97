#include "tools/dump/child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

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

[[noreturn]] void BeChild(Format format, int fd, int stderr_fd,
                          const std::function<int(Report*)>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(stderr_fd, STDERR_FILENO);
  close(stderr_fd);
  int code = kExitCouldNotRun;
  {
    Report report(format, fd);
    g_report = &report;
    for (const int crash : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(crash, OnCrash);
    code = work(&report);
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

// Passes on what the child writes to standard error until it closes it; returns the last line.
std::string PassOn(int from) {
  std::string line;
  std::string last;
  char bytes[4096];
  for (;;) {
    const ssize_t n = read(from, bytes, sizeof(bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    std::fwrite(bytes, 1, static_cast<size_t>(n), stderr);
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

}  // namespace

int RunInChild(Format format, int fd, const std::function<int(Report*)>& work) {
  int pipe_fds[2];
  std::fflush(nullptr);
  if (pipe(pipe_fds) != 0) {
    std::fprintf(stderr, "raftkv-dump: no pipe: %s\n", std::strerror(errno));
    return kExitCouldNotRun;
  }
  const SignalsPassedOn signals;
  const pid_t child = fork();
  if (child == 0) {
    signals.Restore();
    close(pipe_fds[0]);
    BeChild(format, fd, pipe_fds[1], work);
  }
  g_child = child;
  close(pipe_fds[1]);
  int code = kExitCouldNotRun;
  if (child < 0) {
    std::fprintf(stderr, "raftkv-dump: can't fork: %s\n", std::strerror(errno));
  } else {
    const std::string last_words = PassOn(pipe_fds[0]);
    const int status = WaitFor(child);
    if (WIFEXITED(status)) {
      code = WEXITSTATUS(status);
    } else if (!WasStopped(WTERMSIG(status))) {
      Report report(format, fd);
      report.Problem(std::string("reading the directory ended in a crash (") +
                     strsignal(WTERMSIG(status)) +
                     "): " + (last_words.empty() ? "no message" : last_words));
      code = kExitProblems;
    }
  }
  close(pipe_fds[0]);
  g_child = 0;
  return code;
}

}  // namespace raftkv::tools::dump
