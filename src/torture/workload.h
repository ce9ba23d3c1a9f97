// The clients: each calls, waits, and calls again, and everything is recorded.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/rng.h"
#include "tools/ctl/client.h"
#include "torture/options.h"
#include "torture/recorder.h"

namespace raftkv::torture {

// Clients and keys come in groups: at most ten clients, and the keys that only they use. A group
// goes on to new keys after some thousand operations, since the checker looks at all operations of
// a group's keys together. At the end every key is read once more.
class Workload {
 public:
  // `endpoints` are called at random; `recorder` must outlive it.
  Workload(const Options& options, std::vector<std::string> endpoints, Recorder* recorder);
  ~Workload();

  // What the client of this number is called in the history.
  static std::string ClientName(int number) { return "c" + std::to_string(number); }

  void Start();
  // Waits for what is under way.
  void Stop();
  // Every group's keys, linearizably and at each endpoint; an error when one can't be read.
  Status ReadAll();

 private:
  struct Group {
    int keys = 0;
    std::atomic<uint64_t> operations{0};
  };
  struct Seen {  // what a client believes of a key
    std::string key;
    check::Value value;
  };
  class Worker;

  void Run(int number);
  std::string Prefix(size_t group, uint64_t epoch) const;

  const Options options_;
  const std::vector<std::string> endpoints_;
  Recorder* const recorder_;
  const std::string run_;  // in every key: another run's keys must not be there
  std::vector<std::unique_ptr<Group>> groups_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// The first key that does not start with `prefix`.
std::string PrefixEnd(std::string prefix);

}  // namespace raftkv::torture
