// Files that commands make: whole under their own name, or not there.
#pragma once

#include <signal.h>

#include <array>
#include <string>

#include "common/status.h"

namespace raftkv::tools {

struct OutputPlace {
  std::string path;  // what it is to be called; no symbolic link
  std::string part;  // beside it, of this process alone: where it is written before it is whole
};

// kInvalidArgument where `path` is there and no file: a device or a directory is not replaced.
StatusOr<OutputPlace> PlaceOutput(const std::string& path);

// Should a signal of the terminal's or an operator's (SIGINT, SIGTERM, SIGHUP) end the process
// while this lives, `path` is removed first: a part is of no use to anybody. One at a time. Signals
// that the process was told to ignore, as nohup does, stay ignored.
class RemovedOnSignal {
 public:
  explicit RemovedOnSignal(const std::string& path);
  ~RemovedOnSignal();
  RemovedOnSignal(const RemovedOnSignal&) = delete;
  RemovedOnSignal& operator=(const RemovedOnSignal&) = delete;

 private:
  static constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};

  std::array<struct sigaction, kSignals.size()> before_;
};

}  // namespace raftkv::tools
