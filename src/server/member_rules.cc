#include "server/member_rules.h"

#include <algorithm>

#include "server/options.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// Whether another member than `self` has one of the addresses.
bool UrlIsTaken(const Membership& membership, NodeId self, const std::vector<std::string>& urls) {
  for (const auto& [id, info] : membership.info) {
    if (id == self || !membership.Contains(id)) continue;
    for (const std::string& url : urls) {
      if (std::ranges::find(info.peer_urls, url) != info.peer_urls.end()) return true;
    }
  }
  return false;
}

}  // namespace

Status ErrMemberExists() {
  return {Code::kFailedPrecondition, "etcdserver: member ID already exist"};
}
Status ErrPeerUrlExists() {
  return {Code::kFailedPrecondition, "etcdserver: Peer URLs already exists"};
}
Status ErrNotEnoughStarted() {
  return {Code::kFailedPrecondition,
          "etcdserver: re-configuration failed due to not enough started members"};
}
Status ErrBadMemberUrls() {
  return {Code::kInvalidArgument, "etcdserver: given member URLs are invalid"};
}
Status ErrNotLearner() {
  return {Code::kFailedPrecondition, "etcdserver: can only promote a learner member"};
}
Status ErrLearnerNotReady() {
  return {Code::kFailedPrecondition,
          "etcdserver: can only promote a learner member which is in sync with leader"};
}
Status ErrTooManyLearners() {
  return {Code::kFailedPrecondition, "etcdserver: too many learner members in cluster"};
}
Status ErrUnhealthy() { return {Code::kUnavailable, "etcdserver: unhealthy cluster"}; }
Status ErrLearnerUnsupported() {
  return {Code::kUnavailable, "etcdserver: rpc not supported for learner"};
}

bool HasQuorum(const std::set<NodeId>& voters, const std::set<NodeId>& active) {
  const auto up = std::ranges::count_if(voters, [&](NodeId id) { return active.contains(id); });
  return static_cast<size_t>(up) > voters.size() / 2;
}

StatusOr<std::vector<std::string>> CheckPeerUrls(const std::vector<std::string>& urls) {
  std::vector<std::string> out;
  for (const std::string& text : urls) {
    const StatusOr<Url> url = ParseUrl(text);
    if (!url.ok()) return ErrBadMemberUrls();
    out.push_back(url->ToString());
  }
  if (out.empty()) return ErrBadMemberUrls();
  return out;
}

StatusOr<Membership> AddMember(const ClusterView& view, NodeId id,
                               const std::vector<std::string>& peer_urls, bool learner,
                               size_t learners_max) {
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> urls, CheckPeerUrls(peer_urls));
  Membership target = view.membership;
  if (target.Contains(id) || target.removed.contains(id)) return ErrMemberExists();
  if (UrlIsTaken(target, id, urls)) return ErrPeerUrlExists();
  if (target.learners.size() >= learners_max) return ErrTooManyLearners();
  target.learners.insert(id);
  target.info[id] = MemberInfo{urls, /*promote=*/!learner};
  return target;
}

StatusOr<Membership> RemoveMember(const ClusterView& view, NodeId id) {
  Membership target = view.membership;
  if (!target.Contains(id)) return store::ErrMemberNotFound();
  const bool voted = target.voters.erase(id) > 0;
  target.learners.erase(id);
  target.removed.insert(id);  // its URLs stay: who comes back with them is told
  if (voted && !HasQuorum(target.voters, view.active)) return ErrNotEnoughStarted();
  return target;
}

StatusOr<Membership> UpdateMember(const ClusterView& view, NodeId id,
                                  const std::vector<std::string>& peer_urls) {
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> urls, CheckPeerUrls(peer_urls));
  Membership target = view.membership;
  if (!target.Contains(id)) return store::ErrMemberNotFound();
  if (UrlIsTaken(target, id, urls)) return ErrPeerUrlExists();
  target.info[id].peer_urls = urls;
  return target;
}

StatusOr<Membership> PromoteMember(const ClusterView& view, NodeId id) {
  Membership target = view.membership;
  if (!target.Contains(id)) return store::ErrMemberNotFound();
  if (!target.IsLearner(id)) return ErrNotLearner();
  if (!view.caught_up.contains(id)) return ErrLearnerNotReady();
  target.learners.erase(id);
  target.voters.insert(id);
  target.info[id].promote = false;
  if (!HasQuorum(target.voters, view.active)) return ErrUnhealthy();
  return target;
}

NodeId LearnerToPromote(const ClusterView& view) {
  for (const NodeId id : view.membership.learners) {
    const auto info = view.membership.info.find(id);
    if (info == view.membership.info.end() || !info->second.promote) continue;
    if (PromoteMember(view, id).ok()) return id;
  }
  return NodeId();
}

}  // namespace raftkv::server
