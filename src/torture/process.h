// A child process that can be killed and stopped.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"

namespace raftkv::torture {

// A status of wait(2), for people.
std::string HowItEnded(int status);

// Dies with the thread that started it. Not thread-safe.
class Process {
 public:
  Process() = default;
  ~Process() { Kill(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // `environment`: NAME=value, beside this process's own. Output is appended to `log_path`.
  Status Start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
               const std::string& log_path);
  // SIGKILL, and waits until it is gone.
  void Kill();
  void Signal(int number) const;
  // Sends SIGTERM; the exit code, or nothing when it did not end within `seconds`.
  std::optional<int> Stop(double seconds);

  bool started() const { return pid_ > 0; }
  // 0 while there is none. Any thread.
  pid_t pid() const { return pid_; }
  // How it ended (as wait(2) has it), if it ended without having been told to; asks once.
  std::optional<int> Ended();

 private:
  std::atomic<pid_t> pid_ = 0;
};

}  // namespace raftkv::torture
