#include "server/transport.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "raft.grpc.pb.h"
#include "server/peer_codec.h"
#include "server/peer_link.h"

namespace raftkv::server {
namespace {

// Nodes that are no members and have contacted us: addresses that are remembered, and links kept.
// There is rarely one (a leader we have not heard of); the bounds are against a misled crowd.
constexpr size_t kContactsMax = 64;
constexpr size_t kContactLinksMax = 8;

std::vector<Url> ParseUrls(const std::vector<std::string>& texts) {
  std::vector<Url> urls;
  for (const std::string& text : texts) {
    // They were checked when the member was added; what can't be parsed can't be reached.
    if (auto url = ParseUrl(text); url.ok()) urls.push_back(*std::move(url));
  }
  return urls;
}

std::string LinkName(NodeId id, const std::map<NodeId, MemberOptions>& initial_cluster) {
  const auto it = initial_cluster.find(id);
  return it == initial_cluster.end() ? fmt::format("{:x}", id.value()) : it->second.name;
}

}  // namespace

Transport::Transport(ClusterId cluster, NodeId self,
                     const std::vector<MemberOptions>& initial_cluster, EventLoop* loop,
                     std::string advertise_url, OnRemoved on_removed)
    : cluster_(cluster),
      self_(self),
      loop_(loop),
      advertise_url_(std::move(advertise_url)),
      on_removed_(std::move(on_removed)) {
  for (const MemberOptions& member : initial_cluster) {
    initial_cluster_[member.id] = member;
    if (member.id != self) OpenLink(member.id, {member.peer_url}, /*member=*/true);
  }
}

Transport::~Transport() { Stop(); }

void Transport::Stop() {
  std::vector<std::shared_ptr<PeerLink>> links;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    while (!links_.empty()) CloseLink(links_.begin()->first);
    links.swap(ending_);
  }
  for (const auto& link : links) link->WaitUntilEnded();
}

void Transport::SetMembers(const Membership& membership) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  std::erase_if(ending_, [](const auto& link) { return link->has_ended(); });
  std::set<NodeId> members = membership.All();
  members.erase(self_);
  // A former member's link stays as a contact's: the configuration may not be committed yet, and
  // may even be rolled back; and a leader that removes itself needs our answers until it is (thesis
  // 4.2.2). Nobody reconnects such a link once it is not used any more.
  for (auto& [id, entry] : links_) {
    if (!entry.member || members.contains(id)) continue;
    entry.member = false;
    contacts_[id] = entry.link->url();
  }

  for (const NodeId id : members) {
    std::vector<Url> urls;
    if (const auto it = membership.info.find(id); it != membership.info.end()) {
      urls = ParseUrls(it->second.peer_urls);
    }
    if (const auto it = initial_cluster_.find(id); urls.empty() && it != initial_cluster_.end()) {
      urls = {it->second.peer_url};
    }
    if (const auto it = contacts_.find(id); urls.empty() && it != contacts_.end()) {
      urls = {it->second};
    }
    if (urls.empty()) continue;  // until it contacts us
    if (const auto it = links_.find(id); it != links_.end()) {
      it->second.member = true;
      if (it->second.link->urls() == urls) continue;
      spdlog::info("peer has a new address peer={} address={}", LinkName(id, initial_cluster_),
                   urls[0].HostPort());
      CloseLink(id);
    }
    OpenLink(id, std::move(urls), /*member=*/true);
  }
}

void Transport::AddContact(NodeId from, const std::string& url) {
  const auto parsed = ParseUrl(url);
  if (!parsed.ok() || from == self_) return;
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  if (!contacts_.contains(from) && contacts_.size() >= kContactsMax) {
    contacts_.erase(contacts_.begin());
  }
  contacts_[from] = *parsed;
  const auto it = links_.find(from);
  if (it == links_.end() || it->second.member) return;
  if (it->second.link->urls() != std::vector<Url>{*parsed}) CloseLink(from);
}

std::optional<Url> Transport::AddressOf(NodeId id) const {
  std::lock_guard lock(mutex_);
  if (const auto it = links_.find(id); it != links_.end()) return it->second.link->url();
  if (const auto it = contacts_.find(id); it != contacts_.end()) return it->second;
  return std::nullopt;
}

// --- Links; under mutex_ ------------------------------------------------------------------------

void Transport::OpenLink(NodeId id, std::vector<Url> urls, bool member) {
  PeerLinkOptions options{cluster_,
                          self_,
                          id,
                          LinkName(id, initial_cluster_),
                          std::move(urls),
                          advertise_url_,
                          loop_,
                          [this](const std::string& reason) { ReportRemoved(reason); }};
  links_[id] = {std::make_shared<PeerLink>(std::move(options)), member, ++uses_};
}

// A link that was cancelled stays in ending_ until its last callback has come, as that may call us.
void Transport::CloseLink(NodeId id) {
  const auto it = links_.find(id);
  it->second.link->Cancel();
  dropped_before_ += it->second.link->dropped();
  ending_.push_back(std::move(it->second.link));
  links_.erase(it);
}

std::shared_ptr<PeerLink> Transport::LinkTo(NodeId id) {
  auto it = links_.find(id);
  if (it == links_.end()) {
    const auto contact = contacts_.find(id);
    if (stopped_ || contact == contacts_.end()) return nullptr;
    CloseLeastUsedContact();
    OpenLink(id, {contact->second}, /*member=*/false);
    it = links_.find(id);
  }
  it->second.last_use = ++uses_;
  return it->second.link;
}

void Transport::CloseLeastUsedContact() {
  size_t contacts = 0;
  auto oldest = links_.end();
  for (auto it = links_.begin(); it != links_.end(); ++it) {
    if (it->second.member) continue;
    ++contacts;
    if (oldest == links_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
  }
  if (contacts >= kContactLinksMax) CloseLink(oldest->first);
}

void Transport::ReportRemoved(const std::string& reason) {
  if (removed_reported_.exchange(true)) return;
  if (on_removed_) on_removed_(reason);
}

// --- Sending ------------------------------------------------------------------------------------

void Transport::Send(std::span<const raft::Message> messages) {
  // Grouped by addressee: a peer gets one batch however many messages there are.
  std::map<NodeId, std::shared_ptr<PeerLink>> links;
  {
    std::lock_guard lock(mutex_);
    for (const raft::Message& message : messages) {
      if (!links.contains(message.to)) links[message.to] = LinkTo(message.to);
    }
  }
  for (const auto& [id, link] : links) {
    if (!link) continue;
    peer::v1::FrameBatch batch;
    for (const raft::Message& message : messages) {
      if (message.to == id) EncodeMessage(message, batch.add_frames());
    }
    link->Send(&batch, /*need_stream=*/false);
  }
}

bool Transport::Forward(NodeId leader, std::vector<std::string> payloads) {
  std::shared_ptr<PeerLink> link;
  {
    std::lock_guard lock(mutex_);
    link = LinkTo(leader);
  }
  if (!link) return false;
  peer::v1::FrameBatch batch;
  auto* forward = batch.add_frames()->mutable_forward();
  for (std::string& payload : payloads) forward->add_payloads(std::move(payload));
  return link->Send(&batch, /*need_stream=*/true);
}

void Transport::RefuseForward(NodeId to, const std::vector<uint64_t>& request_ids,
                              peer::v1::ForwardRefused::Reason reason) {
  std::shared_ptr<PeerLink> link;
  {
    std::lock_guard lock(mutex_);
    link = LinkTo(to);
  }
  if (!link) return;
  peer::v1::FrameBatch batch;
  auto* refused = batch.add_frames()->mutable_forward_refused();
  for (uint64_t id : request_ids) refused->add_request_ids(id);
  refused->set_reason(reason);
  link->Send(&batch, /*need_stream=*/false);
}

uint64_t Transport::dropped() const {
  std::lock_guard lock(mutex_);
  uint64_t total = dropped_before_;
  for (const auto& [id, entry] : links_) total += entry.link->dropped();
  return total;
}

std::vector<LinkStatus> Transport::Links() const {
  std::lock_guard lock(mutex_);
  std::vector<LinkStatus> links;
  for (const auto& [id, entry] : links_) {
    links.push_back({id, entry.link->url().HostPort(), entry.member, entry.link->connected(),
                     entry.link->dropped()});
  }
  return links;
}

}  // namespace raftkv::server
