// Changes of the configuration on their way through the log.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <optional>

#include "common/status.h"
#include "raft/core.h"
#include "server/member_rules.h"

namespace raftkv::server {

// What a change makes of the configuration in force, or why it is refused. May be asked often.
using ConfigChange = std::function<StatusOr<Membership>(const ClusterView&)>;
// The configuration that is committed and applied here; on the raft thread.
using ConfigDone = std::function<void(StatusOr<Membership>)>;

// The raft thread's own. One change is under way at a time; others wait for it. A change that needs
// members up waits, too, until a new leader can know whether they are.
class MemberChanges {
 public:
  using Clock = std::chrono::steady_clock;

  // `core` must outlive it.
  explicit MemberChanges(raft::Core* core) : core_(core) {}

  // kNotLeader, and nothing was done, when this node does not lead.
  void Begin(ConfigChange change, ConfigDone done, Clock::time_point deadline);
  // After each turn of the raft loop: answers what is complete, starts what waits.
  void OnTurn();
  // Once a tick: promotes learners that were added to vote, and gives up on what took too long.
  void OnTick(Clock::time_point now);
  // The node stops.
  void FailAll(const Status& status);

  // Whether it is committed that this node was removed.
  bool RemovedForGood() const;

 private:
  struct Change {
    ConfigChange change;
    ConfigDone done;
    Clock::time_point deadline;
    LogPosition position;  // of its first entry, once proposed
  };

  // A change that is committed.
  struct Unapplied {
    ConfigDone done;
    Clock::time_point deadline;
    Index index;  // of the entry that completes it
    Membership membership;
  };

  ClusterView View() const;
  void StartWaiting();

  raft::Core* const core_;
  std::deque<Change> waiting_;
  std::optional<Change> under_way_;
  std::deque<Unapplied> unapplied_;  // by index
};

}  // namespace raftkv::server
