// Compares the members' data: a hash of each one's applied state at one revision.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "common/status.h"
#include "common/types.h"
#include "server/peer_hash.h"

namespace raftkv::server {

// Which members' data is wrong, given every member's hash of the same revision: those that differ
// from what a majority of them has, or without one from the leader.
std::set<NodeId> CorruptMembers(const std::map<NodeId, uint64_t>& hashes, NodeId leader);

struct ReplicaCheckHooks {
  std::function<bool()> leads;
  std::function<std::set<NodeId>()> others;  // the members besides this node
  // Of this node, at its current revision. May take long, as the next.
  std::function<StatusOr<HashKvAnswer>()> hash_own;
  // As AskHashKv.
  std::function<StatusOr<HashKvAnswer>(NodeId, uint64_t revision)> ask;
  std::function<void(NodeId)> raise_alarm;
  // Runs what takes long on a thread for that, one after the other.
  std::function<void(std::function<void()>)> post;
};

// What the leader does: it hashes its own state, asks the others for theirs at that revision, and
// names those that differ. A follower that has not applied that revision yet is asked again for a
// while, so that a cluster under load is compared as a whole.
class ReplicaCheck {
 public:
  using Clock = std::chrono::steady_clock;

  // How often a member that is behind is asked again, and how many times it is asked.
  static constexpr auto kAskAgainEvery = std::chrono::milliseconds(500);
  static constexpr int kAsksMax = 20;

  // `every` 0: never.
  ReplicaCheck(NodeId self, std::chrono::seconds every, ReplicaCheckHooks hooks);

  // Posts what is due at `now`; on one thread, which never waits for what was posted.
  void Step(Clock::time_point now);

  uint64_t started() const { return started_.load(std::memory_order_relaxed); }

 private:
  void Begin();
  void Ask();
  void Conclude();
  void Raise(NodeId id, const std::string& why);

  const NodeId self_;
  const std::chrono::seconds every_;
  const ReplicaCheckHooks hooks_;
  std::atomic<uint64_t> started_{0};

  // Step's own.
  Clock::time_point next_check_{};
  Clock::time_point next_ask_{};

  // Step's own while it is false, else the posted work's.
  std::atomic<bool> busy_{false};
  uint64_t revision_ = 0;              // that is being compared
  std::map<NodeId, uint64_t> hashes_;  // at revision_
  std::set<NodeId> waiting_;           // to be asked (again); empty: no check is under way
  int asks_ = 0;
};

}  // namespace raftkv::server
