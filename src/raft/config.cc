// Changes of the configuration (paper, section 6; thesis, chapter 4).
#include <algorithm>
#include <string>

#include "common/check.h"
#include "common/membership_codec.h"
#include "raft/core.h"

namespace raftkv::raft {
namespace {

// How many voters are in one set and not in the other.
size_t Difference(const std::set<NodeId>& a, const std::set<NodeId>& b) {
  const auto missing_in = [](const std::set<NodeId>& from, const std::set<NodeId>& in) {
    return std::count_if(from.begin(), from.end(), [&](NodeId id) { return !in.contains(id); });
  };
  return static_cast<size_t>(missing_in(a, b) + missing_in(b, a));
}

// `next` as it follows `now`: who is in it no more has been removed for good.
Membership Succeeding(const Membership& now, Membership next) {
  next.removed.insert(now.removed.begin(), now.removed.end());
  for (const NodeId member : now.All()) {
    if (!next.Contains(member)) next.removed.insert(member);
  }
  std::erase_if(next.info, [&](const auto& info) {
    return !next.Contains(info.first) && !next.removed.contains(info.first);
  });
  return next;
}

Status CheckTarget(const Membership& now, const Membership& target) {
  if (target.voters.empty()) {
    return Status(Code::kInvalidArgument, "a configuration needs a voter");
  }
  if (target.IsJoint()) {
    return Status(Code::kInvalidArgument, "a joint configuration is not for clients to propose");
  }
  for (const NodeId member : target.All()) {
    const std::string name = "member " + std::to_string(member.value());
    if (member.none()) return Status(Code::kInvalidArgument, "0 is no member id");
    if (now.removed.contains(member) || target.removed.contains(member)) {
      return Status(Code::kInvalidArgument,
                    name + " was removed; it can only come back under another id");
    }
    if (target.voters.contains(member) && target.learners.contains(member)) {
      return Status(Code::kInvalidArgument, name + " can't be a voter and a learner");
    }
  }
  return Status::Ok();
}

}  // namespace

StatusOr<LogPosition> Core::ProposeConfig(const Membership& target) {
  if (role_ != Role::kLeader) return Status(Code::kNotLeader, "this node does not lead");
  if (!transfer_target_.none()) {
    return Status(Code::kUnavailable, "leadership is being transferred");
  }
  // Configurations of two leaders, each one step from what came before, may be two steps apart.
  // With an entry of its own term committed the other's can't be (Ongaro, raft-dev, July 2015).
  if (!HasCommittedInTerm()) {
    return Status(Code::kUnavailable, "this leader has committed nothing in its term yet");
  }
  const Membership& now = membership();
  if (now.IsJoint() || config_index() > log_.commit()) {
    return Status(Code::kFailedPrecondition, "another configuration change is under way");
  }
  if (const Status status = CheckTarget(now, target); !status.ok()) return status;
  Membership next = target;
  if (Difference(now.voters, target.voters) > 1) {
    // They must be reached, and their votes count, until the joint configuration is left.
    next.outgoing = now.voters;
    for (const auto& [member, info] : now.info) {
      if (next.outgoing.contains(member)) next.info.emplace(member, info);
    }
  }
  AppendConfig(Succeeding(now, std::move(next)));
  return log_.last_position();
}

void Core::AppendConfig(const Membership& next) {
  AppendAsLeader(EntryKind::kConfig, std::make_shared<const std::string>(EncodeMembership(next)));
  FollowMembership();
}

// The leader's peers are those of the configuration in force.
void Core::FollowMembership() {
  const std::set<NodeId> members = membership().All();
  std::erase_if(peers_, [&](const auto& peer) { return !members.contains(peer.first); });
  for (const NodeId member : members) {
    if (member == id()) continue;
    const auto [peer, is_new] = peers_.emplace(member, Progress(log_.last() + 1, ticks_led_));
    // It has had no time yet to be heard from: this must not cost the leader its office.
    if (is_new) peer->second.recently_active = true;
  }
  ConfirmReads();  // those who confirmed may be a quorum now
}

// A configuration that is committed may ask for what comes next: from a joint one to the new one,
// and from the leader that is not in it to resign.
void Core::ContinueConfigChange() {
  if (!HasCommittedInTerm() || config_index() > log_.commit() || !transfer_target_.none()) return;
  if (membership().IsJoint()) {
    Membership next = membership();
    next.outgoing.clear();
    AppendConfig(Succeeding(membership(), std::move(next)));
  } else if (!membership().IsVoter(id())) {
    // All that was proposed may still be committed, by the one that takes over.
    const NodeId successor = MostCaughtUpVoter();
    if (!successor.none()) Send(successor, TimeoutNow{});
    BecomeFollower(term(), NodeId());
  }
}

bool Core::IsCaughtUp(NodeId learner) const {
  const auto peer = peers_.find(learner);
  if (peer == peers_.end()) return false;
  const Progress& progress = peer->second;
  return ContactWith(progress) == Contact::kHeard &&
         progress.KeepsUp(ticks_led_, options_.election_ticks);
}

}  // namespace raftkv::raft
