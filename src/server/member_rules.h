// Which changes of the configuration are allowed, and what they make of it: etcd's checks, as
// functions of what the leader knows.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"

namespace raftkv::server {

// What a leader goes by when it decides about a change.
struct ClusterView {
  Membership membership;       // in force
  std::set<NodeId> active;     // heard from lately; the leader itself among them
  std::set<NodeId> caught_up;  // learners that could vote without holding up commits
  std::set<NodeId> awaited;    // neither active nor silent: this leader is too new to know
};

Status ErrMemberExists();        // etcdserver: member ID already exist
Status ErrPeerUrlExists();       // etcdserver: Peer URLs already exists
Status ErrNotEnoughStarted();    // etcdserver: re-configuration failed due to not enough ...
Status ErrBadMemberUrls();       // etcdserver: given member URLs are invalid
Status ErrNotLearner();          // etcdserver: can only promote a learner member
Status ErrLearnerNotReady();     // ..., which is in sync with leader
Status ErrTooManyLearners();     // etcdserver: too many learner members in cluster
Status ErrUnhealthy();           // etcdserver: unhealthy cluster
Status ErrLearnerUnsupported();  // etcdserver: rpc not supported for learner

// Whether the voters of `membership` that are in `active` are a majority of them.
bool HasQuorum(const std::set<NodeId>& voters, const std::set<NodeId>& active);

// The configuration after the change, or why it is refused. A member that is to vote is added as a
// learner first, to be promoted once it has caught up: one that never starts can't cost the quorum.
StatusOr<Membership> AddMember(const ClusterView& view, NodeId id,
                               const std::vector<std::string>& peer_urls, bool learner,
                               size_t learners_max);
// Refused when the voters that remain and are active would be no quorum: nothing could be committed
// any more.
StatusOr<Membership> RemoveMember(const ClusterView& view, NodeId id);
StatusOr<Membership> UpdateMember(const ClusterView& view, NodeId id,
                                  const std::vector<std::string>& peer_urls);
StatusOr<Membership> PromoteMember(const ClusterView& view, NodeId id);

// The learner to be promoted without being asked to, or none.
NodeId LearnerToPromote(const ClusterView& view);

// kInvalidArgument, etcd's text, unless there is at least one and all are http://host:port. The
// addresses in their canonical form.
StatusOr<std::vector<std::string>> CheckPeerUrls(const std::vector<std::string>& urls);

}  // namespace raftkv::server
