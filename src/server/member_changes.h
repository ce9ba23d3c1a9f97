// Changes of the configuration on their way through the log.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <optional>

#include "common/status.h"
#include "raft/core.h"
#include "server/member_rules.h"
#include "store/apply_loop.h"

namespace raftkv::server {

// What a change makes of the configuration in force, or why it is refused. May be asked often.
using ConfigChange = std::function<StatusOr<Membership>(const ClusterView&)>;
// The configuration that is committed and applied here; on the apply or the raft thread.
using ConfigDone = std::function<void(StatusOr<Membership>)>;

// The raft thread's own. One change is under way at a time; others wait for it. A change that needs
// members up waits, too, until a new leader can know whether they are.
class MemberChanges {
 public:
  using Clock = std::chrono::steady_clock;

  // Both must outlive it.
  MemberChanges(raft::Core* core, store::ApplyLoop* apply_loop)
      : core_(core), apply_loop_(apply_loop) {}

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

  ClusterView View() const;
  void StartWaiting();
  void Answer(Change change);

  raft::Core* const core_;
  store::ApplyLoop* const apply_loop_;
  std::deque<Change> waiting_;
  std::optional<Change> under_way_;
};

}  // namespace raftkv::server
