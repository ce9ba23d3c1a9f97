#include "server/join.h"

#include <algorithm>
#include <thread>

#include "raft.grpc.pb.h"
#include "server/peer_channel.h"

namespace raftkv::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kAskTimeout = std::chrono::seconds(2);
// Between rounds: time for a member that lags behind to hear of the new one.
constexpr auto kRoundPause = std::chrono::milliseconds(200);

std::vector<std::string> Sorted(std::vector<std::string> urls) {
  // As ParseUrl writes them, so that two spellings of one URL are equal.
  for (std::string& url : urls) {
    if (const auto parsed = ParseUrl(url); parsed.ok()) url = parsed->ToString();
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ",") + part;
  return out;
}

StatusOr<JoinedCluster> AskMembers(const Url& url, Clock::duration patience) {
  const auto stub = peer::v1::Peer::NewStub(MakePeerChannel(url));
  grpc::ClientContext context;
  context.AddMetadata(kPeerMetaVersion, kPeerProtocolVersion);
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::milliseconds>(patience));
  peer::v1::MembersResponse response;
  RAFTKV_RETURN_IF_ERROR(
      FromPeerStatus(stub->Members(&context, {}, &response), "asking " + url.ToString()));
  JoinedCluster cluster{
      ClusterId(response.cluster()), NodeId(response.from()), NodeId(response.leader()), {}};
  for (const auto& in : response.members()) {
    cluster.members.push_back({NodeId(in.id()),
                               in.name(),
                               {in.peer_urls().begin(), in.peer_urls().end()},
                               in.learner(),
                               in.removed()});
  }
  if (cluster.cluster.none() || cluster.self.none()) {
    return Status(Code::kUnavailable, "asking " + url.ToString() + ": it has no cluster yet");
  }
  return cluster;
}

// What is known after asking some nodes.
class Search {
 public:
  explicit Search(const std::vector<Url>& own) {
    for (const Url& url : own) own_.push_back(url.ToString());
    own_ = Sorted(own_);
  }

  // True once `cluster`, a node's answer, settles who we are.
  bool Settles(JoinedCluster* cluster) {
    answered_ = true;
    for (const ClusterMember& member : cluster->members) {
      if (Sorted(member.peer_urls) != own_) continue;
      if (member.removed) {
        removed_ = true;
        continue;
      }
      cluster->self = member.id;
      return true;
    }
    // The leader knows of every member; the others may lag behind.
    leader_denies_ = leader_denies_ || cluster->leader == cluster->self;
    return false;
  }
  void Failed(const Status& status) { last_failure_ = status; }

  bool hopeless() const {
    return leader_denies_ || last_failure_.code() == Code::kFailedPrecondition;
  }

  Status Verdict() const {
    if (last_failure_.code() == Code::kFailedPrecondition) return last_failure_;
    if (removed_) {
      return {Code::kFailedPrecondition,
              "the member with the peer URLs " + Joined(own_) +
                  " was removed from the cluster; run raftkvctl member add to add it again"};
    }
    if (answered_) {
      return {Code::kNotFound, "the cluster has no member with exactly the peer URLs " +
                                   Joined(own_) +
                                   "; run raftkvctl member add with them first, or correct "
                                   "--initial-advertise-peer-urls"};
    }
    return {Code::kUnavailable, "none of the other members in --initial-cluster answers (" +
                                    last_failure_.message() +
                                    "); start them, or correct their peer URLs"};
  }

 private:
  std::vector<std::string> own_;
  bool answered_ = false;
  bool removed_ = false;
  bool leader_denies_ = false;
  Status last_failure_;
};

}  // namespace

StatusOr<JoinedCluster> AskToJoin(const std::vector<Url>& ask, const std::vector<Url>& own,
                                  std::chrono::milliseconds timeout) {
  std::vector<Url> others;
  for (const Url& url : ask) {
    if (std::find(own.begin(), own.end(), url) == own.end()) others.push_back(url);
  }
  if (others.empty()) {
    return Status(Code::kInvalidArgument,
                  "--initial-cluster-state existing needs the other members in --initial-cluster: "
                  "they say which member this node is");
  }
  const auto deadline = Clock::now() + timeout;
  Search search(own);
  while (true) {
    for (const Url& url : others) {
      const auto left =
          std::max<Clock::duration>(deadline - Clock::now(), std::chrono::milliseconds(1));
      auto cluster = AskMembers(url, std::min<Clock::duration>(kAskTimeout, left));
      if (!cluster.ok()) {
        search.Failed(cluster.status());
      } else if (search.Settles(&*cluster)) {
        return cluster;
      }
    }
    if (search.hopeless() || Clock::now() + kRoundPause >= deadline) return search.Verdict();
    std::this_thread::sleep_for(kRoundPause);
  }
}

}  // namespace raftkv::server
