// What clients asked and saw, and what the report is made of.
#pragma once

#include <chrono>
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "check/history.h"
#include "common/status.h"

namespace raftkv::torture {

// Nanoseconds of one monotonic clock, from the first call of the program on.
int64_t NowNs();

// One second of the run.
struct Second {
  uint64_t ok = 0;
  uint64_t failed = 0;
  uint64_t unknown = 0;
  std::vector<uint32_t> latencies_us;  // of those that succeeded
};

// A fault, from its start to its end.
struct FaultSpan {
  std::string name;
  std::string what;  // which nodes or links
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t served_ns = 0;  // when an operation first succeeded after the end; 0: not yet
};

struct LeaderChange {
  int64_t at_ns = 0;
  std::string leader;
  uint64_t term = 0;
};

// How a client gets on. Reads say nothing of it: a client whose session is refused for ever can
// read.
struct ClientProgress {
  uint64_t writes_ok = 0;
  std::string last_error;  // of a write
};

// Thread-safe.
class Recorder {
 public:
  // The history is written to `path` as it grows, so that it is there whatever happens.
  static StatusOr<std::unique_ptr<Recorder>> Make(const std::string& path);

  // `error`: why it did not succeed.
  void Add(check::Operation op, int64_t end_ns, const std::string& error);

  // An answer that no state of the keys explains. The first few are kept.
  void AddMalformed(const std::string& what);
  std::vector<std::string> malformed() const;

  uint64_t ok() const;
  uint64_t operations() const;
  // By name, all that recorded a write.
  std::map<std::string, ClientProgress> clients() const;

  // After the last Add. The first error of writing the file, if there was one.
  Status Close();
  check::History TakeHistory() { return std::move(history_); }
  const std::vector<Second>& seconds() const { return seconds_; }
  // How often each was the reason.
  const std::map<std::string, uint64_t>& errors() const { return errors_; }

 private:
  Recorder() = default;

  mutable std::mutex mutex_;
  std::ofstream file_;
  check::History history_;
  std::vector<Second> seconds_;
  std::map<std::string, uint64_t> errors_;
  uint64_t ok_ = 0;
  std::map<std::string, ClientProgress> clients_;
  std::vector<std::string> malformed_;
};

}  // namespace raftkv::torture
