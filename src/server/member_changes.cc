#include "server/member_changes.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// Whether the change is refused only for want of members that were not heard of yet in this term.
bool IsUndecided(const ConfigChange& change, ClusterView view) {
  if (view.awaited.empty()) return false;
  view.active.merge(view.awaited);
  return change(view).ok();
}

Status Unknown(const Status& status) { return {Code::kOutcomeUnknown, status.message()}; }

}  // namespace

ClusterView MemberChanges::View() const {
  ClusterView view;
  view.membership = core_->membership();
  view.active.insert(core_->id());
  for (const raft::PeerStatus& peer : core_->Peers()) {
    if (peer.contact == raft::Contact::kHeard) view.active.insert(peer.id);
    if (peer.contact == raft::Contact::kAwaited) view.awaited.insert(peer.id);
  }
  for (const NodeId id : view.membership.learners) {
    if (core_->IsCaughtUp(id)) view.caught_up.insert(id);
  }
  return view;
}

void MemberChanges::Begin(ConfigChange change, ConfigDone done, Clock::time_point deadline) {
  if (core_->role() != raft::Role::kLeader) {
    done(store::ErrNotLeader());
    return;
  }
  waiting_.push_back({std::move(change), std::move(done), deadline, {}});
  StartWaiting();
}

void MemberChanges::StartWaiting() {
  while (!under_way_ && !waiting_.empty()) {
    Change& next = waiting_.front();
    if (core_->role() != raft::Role::kLeader) {
      next.done(store::ErrNotLeader());
      waiting_.pop_front();
      continue;
    }
    // Made from the configuration as it is now: another change may have come before.
    const ClusterView view = View();
    StatusOr<Membership> target = next.change(view);
    if (!target.ok()) {
      // Each of them is heard of or silent by the time this node has led for an election timeout.
      if (IsUndecided(next.change, view)) return;
      next.done(target.status());
      waiting_.pop_front();
      continue;
    }
    const StatusOr<LogPosition> position = core_->ProposeConfig(*target);
    if (position.ok()) {
      spdlog::info("configuration proposed index={} {}", position->index.value(),
                   ToString(*target));
      next.position = *position;
      under_way_ = std::move(next);
      waiting_.pop_front();
      return;
    }
    const Code code = position.status().code();
    // Another change is under way (a promotion, or one of the leader before), or this leader has
    // committed nothing yet: both pass.
    if (code == Code::kFailedPrecondition || code == Code::kUnavailable) return;
    next.done(position.status());
    waiting_.pop_front();
  }
}

void MemberChanges::OnTurn() {
  if (under_way_) {
    const LogPosition position = under_way_->position;
    const bool same_term = core_->term() == position.term;
    if (same_term && !core_->membership().IsJoint() && core_->config_index() >= position.index &&
        core_->commit() >= core_->config_index()) {
      unapplied_.push_back({std::move(under_way_->done), under_way_->deadline,
                            core_->config_index(), core_->membership()});
      under_way_.reset();
    } else if (!same_term || core_->role() != raft::Role::kLeader) {
      // The next leader may have the entry, or not.
      under_way_->done(Unknown(store::ErrTimeoutLeaderFail()));
      under_way_.reset();
    }
  }
  while (!unapplied_.empty() && unapplied_.front().index <= core_->applied()) {
    unapplied_.front().done(std::move(unapplied_.front().membership));
    unapplied_.pop_front();
  }
  if (!waiting_.empty()) StartWaiting();
}

void MemberChanges::OnTick(Clock::time_point now) {
  if (under_way_ && under_way_->deadline <= now) {
    under_way_->done(Unknown(store::ErrTimeout()));
    under_way_.reset();
  }
  std::erase_if(unapplied_, [now](const Unapplied& change) {
    if (change.deadline > now) return false;
    change.done(Unknown(store::ErrTimeout()));
    return true;
  });
  std::erase_if(waiting_, [now](const Change& change) {
    if (change.deadline > now) return false;
    change.done(store::ErrTimeout());
    return true;
  });
  if (core_->role() != raft::Role::kLeader || core_->membership().learners.empty()) return;
  const ClusterView view = View();
  const NodeId learner = LearnerToPromote(view);
  if (learner.none()) return;
  // Refused while another change is under way: the next tick asks again.
  const StatusOr<LogPosition> position = core_->ProposeConfig(PromoteMember(view, learner).value());
  if (position.ok()) {
    spdlog::info("promoting member={:x} index={}: it has caught up", learner.value(),
                 position->index.value());
  }
}

void MemberChanges::FailAll(const Status& status) {
  for (const Change& change : waiting_) change.done(status);
  waiting_.clear();
  if (under_way_) under_way_->done(Unknown(status));
  under_way_.reset();
  for (const Unapplied& change : unapplied_) change.done(Unknown(status));
  unapplied_.clear();
}

bool MemberChanges::RemovedForGood() const {
  return core_->membership().removed.contains(core_->id()) &&
         core_->commit() >= core_->config_index();
}

}  // namespace raftkv::server
