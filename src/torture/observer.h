// What the nodes say of themselves: who leads, and whether they hold the same.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "torture/recorder.h"

namespace raftkv::torture {

// Asks every node all the time, on a thread of its own.
class Observer {
 public:
  // `names` of the nodes at `endpoints`, for people.
  Observer(std::vector<std::string> endpoints, std::vector<std::string> names);
  ~Observer();

  void Stop();
  // After Stop.
  const std::vector<LeaderChange>& leader_changes() const { return changes_; }
  // Two leaders that one term had; empty if no term had.
  const std::string& two_leaders() const { return two_leaders_; }

 private:
  void Run();

  const std::vector<std::string> endpoints_;
  const std::vector<std::string> names_;
  std::vector<LeaderChange> changes_;
  std::map<uint64_t, uint64_t> leader_of_term_;
  std::map<uint64_t, std::string> name_of_member_;
  std::string two_leaders_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Waits until every node serves reads; kDeadlineExceeded, naming one that does not. Asks `watch`
// meanwhile, and gives up at its first error.
Status WaitUntilAllServe(
    const std::vector<std::string>& endpoints, double seconds,
    const std::function<Status()>& watch = [] { return Status::Ok(); });

// Waits until every node has applied what the newest one had at the call, and compares the hashes
// of what they hold at that revision. kCorruption when they differ.
Status CompareHashes(const std::vector<std::string>& endpoints, double seconds);

}  // namespace raftkv::torture
