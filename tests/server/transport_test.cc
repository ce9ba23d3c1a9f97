// The two halves of the peer network against each other, over loopback.

#include "server/transport.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "server/peer_codec.h"
#include "server/peer_node.h"

namespace raftkv::server {
namespace {

const ClusterId kCluster(77);
const NodeId kA(1);
const NodeId kB(2);

// Collects what arrives; tests wait for it, bounded by ctest's timeout.
class Inbox {
 public:
  void Add(NodeId from, peer::v1::FrameBatch&& batch) {
    std::lock_guard lock(mutex_);
    for (auto& frame : *batch.mutable_frames()) {
      froms_.push_back(from);
      frames_.push_back(std::move(frame));
    }
    changed_.notify_all();
  }
  // Waits up to `patience`; true when at least `n` frames are there.
  bool WaitFor(size_t n, std::chrono::milliseconds patience = std::chrono::seconds(30)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return frames_.size() >= n; });
  }
  std::vector<peer::v1::Frame> frames() {
    std::lock_guard lock(mutex_);
    return frames_;
  }
  NodeId from(size_t i) {
    std::lock_guard lock(mutex_);
    return froms_[i];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<NodeId> froms_;
  std::vector<peer::v1::Frame> frames_;
};

// Node B's receiving end, on a port of the system's choice or a given one.
class Receiver {
 public:
  explicit Receiver(ClusterId cluster, int port = 0, NodeId self = kB)
      : peer_(cluster, self, Handlers(), port) {}

  bool up() const { return peer_.up(); }
  Url url() const { return peer_.url(); }
  PeerService* service() { return peer_.service(); }
  int port() const { return peer_.port(); }

  Inbox inbox;
  std::atomic<Transport*> contact_for{nullptr};

 private:
  PeerHandlers Handlers() {
    PeerHandlers handlers;
    handlers.on_batch = [this](NodeId from, peer::v1::FrameBatch&& batch) {
      inbox.Add(from, std::move(batch));
    };
    handlers.on_contact = [this](NodeId from, const std::string& url) {
      if (Transport* const transport = contact_for) transport->AddContact(from, url);
    };
    handlers.hash_kv = [](uint64_t revision, PeerHandlers::HashKvDone done) {
      if (revision > 9) {
        done(Status(Code::kOutOfRange, "a future revision"));
      } else {
        done(HashKvAnswer{0xabcdef0123456789, revision, 2, Index(44)});
      }
    };
    return handlers;
  }

  ListeningPeer peer_;
};

std::vector<MemberOptions> Members(int port_b) {
  return {{"a", kA, {"127.0.0.1", 1}}, {"b", kB, {"127.0.0.1", static_cast<uint16_t>(port_b)}}};
}

std::vector<raft::Message> Beat(uint64_t round) {
  return {{kA, kB, Term(3), raft::Heartbeat{Index(1), round}}};
}

class TransportTest : public testing::Test {
 protected:
  RunningLoop loop_;  // of the sending ends
};

TEST_F(TransportTest, ArrivesInOrderWithTheSendersName) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, Members(b.port()), loop_.get());
  constexpr uint64_t kMessages = 500;
  for (uint64_t i = 1; i <= kMessages; ++i) a.Send(Beat(i));
  ASSERT_TRUE(b.inbox.WaitFor(kMessages));
  const auto frames = b.inbox.frames();
  for (uint64_t i = 0; i < kMessages; ++i) {
    EXPECT_EQ(frames[i].heartbeat().read_round(), i + 1);
    EXPECT_EQ(b.inbox.from(i), kA);
  }
}

TEST_F(TransportTest, AnotherClusterIsRefused) {
  Receiver b(ClusterId(78));
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, Members(b.port()), loop_.get());
  for (int i = 0; i < 5; ++i) {
    a.Send(Beat(1));
    EXPECT_FALSE(b.inbox.WaitFor(1, std::chrono::milliseconds(60)));
  }
}

// B's address in the hands of a node that means another one by it.
TEST_F(TransportTest, StreamsForAnotherNodeAreRefused) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  const NodeId other(3);
  std::vector<MemberOptions> members = Members(b.port());
  members[1].id = other;
  Transport to_another(kCluster, kA, members, loop_.get());
  const std::vector<raft::Message> beat{{kA, other, Term(3), raft::Heartbeat{Index(1), 1}}};
  for (int i = 0; i < 5; ++i) {
    to_another.Send(beat);
    EXPECT_FALSE(b.inbox.WaitFor(1, std::chrono::milliseconds(60)));
  }
}

TEST_F(TransportTest, ReconnectsAfterThePeerRestarted) {
  auto b = std::make_unique<Receiver>(kCluster);
  ASSERT_TRUE(b->up());
  const int port = b->port();
  Transport a(kCluster, kA, Members(port), loop_.get());
  a.Send(Beat(1));
  ASSERT_TRUE(b->inbox.WaitFor(1));
  b = nullptr;
  b = std::make_unique<Receiver>(kCluster, port);
  ASSERT_TRUE(b->up());
  // As a leader would: repeat until one arrives.
  bool arrived = false;
  for (int i = 0; i < 200 && !arrived; ++i) {
    a.Send(Beat(2));
    arrived = b->inbox.WaitFor(1, std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(arrived);
}

// The peer's consent comes on a thread of gRPC's own, some time after the first message is heard,
// and is only to be seen in what the transport does.
template <typename Condition>
bool Eventually(const Condition& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_F(TransportTest, ForwardIsRefusedWithoutAConnection) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, Members(b.port()), loop_.get());
  // Nothing was ever sent: whether B is there is not known, so the write must not be given away.
  EXPECT_FALSE(a.Forward(kB, {"x"}));
  a.Send(Beat(1));
  ASSERT_TRUE(b.inbox.WaitFor(1));
  ASSERT_TRUE(Eventually([&] { return a.Forward(kB, {"one", "two"}); }));
  ASSERT_TRUE(b.inbox.WaitFor(2));
  EXPECT_EQ(b.inbox.frames()[1].forward().payloads_size(), 2);
}

TEST_F(TransportTest, StoppingWithAPeerThatIsNotThereDoesNotHang) {
  Transport a(kCluster, kA, Members(1), loop_.get());  // nobody listens on port 1
  a.Send(Beat(1));
  a.Stop();
}

// Sends heartbeats, as a leader would, until `inbox` has `n` frames.
bool SendUntilHeard(Transport* from, const raft::Message& message, Inbox* inbox, size_t n) {
  for (int i = 0; i < 200; ++i) {
    from->Send(std::vector<raft::Message>{message});
    if (inbox->WaitFor(n, std::chrono::milliseconds(50))) return true;
  }
  return false;
}

Membership MembersAt(std::map<NodeId, std::string> urls) {
  Membership membership;
  for (const auto& [id, url] : urls) {
    membership.voters.insert(id);
    membership.info[id].peer_urls = {url};
  }
  return membership;
}

TEST_F(TransportTest, AMemberThatWasAddedIsReachedAndAFormerOneStillAnswered) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, {}, loop_.get());
  a.Send(Beat(1));
  EXPECT_TRUE(a.Links().empty());
  a.SetMembers(MembersAt({{kA, "http://127.0.0.1:1"}, {kB, b.url().ToString()}}));
  ASSERT_EQ(a.Links().size(), 1u);
  EXPECT_EQ(a.AddressOf(kB), b.url());
  ASSERT_TRUE(SendUntilHeard(&a, Beat(2)[0], &b.inbox, 1));
  EXPECT_EQ(b.inbox.frames()[0].heartbeat().read_round(), 2u);
  // Its removal may not be committed yet, and it may be the leader: it is still answered.
  Membership without_b = MembersAt({{kA, "http://127.0.0.1:1"}});
  without_b.removed = {kB};
  a.SetMembers(without_b);
  EXPECT_FALSE(a.Links().at(0).member);
  ASSERT_TRUE(SendUntilHeard(&a, Beat(3)[0], &b.inbox, b.inbox.frames().size() + 1));
}

TEST_F(TransportTest, AMemberIsFollowedToItsNewAddressAndAnUnchangedOneKeepsItsStream) {
  Receiver before(kCluster);
  Receiver after(kCluster);
  ASSERT_TRUE(before.up() && after.up());
  Transport a(kCluster, kA, Members(before.port()), loop_.get());
  ASSERT_TRUE(SendUntilHeard(&a, Beat(1)[0], &before.inbox, 1));
  ASSERT_TRUE(Eventually([&] { return a.Links()[0].connected; }));
  // No URL of its own: the one of --initial-cluster, where it is connected.
  Membership same;
  same.voters = {kA, kB};
  a.SetMembers(same);
  EXPECT_TRUE(a.Links()[0].connected);
  a.SetMembers(MembersAt({{kA, "http://127.0.0.1:1"}, {kB, after.url().ToString()}}));
  ASSERT_TRUE(SendUntilHeard(&a, Beat(2)[0], &after.inbox, 1));
  EXPECT_EQ(after.inbox.frames()[0].heartbeat().read_round(), 2u);
}

TEST_F(TransportTest, ANodeThatIsNoMemberIsHeardAndAnswered) {
  Receiver at_b(kCluster);
  Receiver at_a(kCluster, 0, kA);
  ASSERT_TRUE(at_b.up() && at_a.up());
  // B knows of no member at all, as a node that joins.
  Transport b(kCluster, kB, {}, loop_.get());
  at_b.contact_for = &b;
  Transport a(kCluster, kA, Members(at_b.port()), loop_.get(), at_a.url().ToString());
  ASSERT_TRUE(SendUntilHeard(&a, Beat(1)[0], &at_b.inbox, 1));
  EXPECT_EQ(at_b.inbox.from(0), kA);
  const raft::Message answer{kB, kA, Term(3), raft::HeartbeatResponse{1}};
  ASSERT_TRUE(SendUntilHeard(&b, answer, &at_a.inbox, 1));
  EXPECT_EQ(at_a.inbox.from(0), kB);
  EXPECT_FALSE(b.Links().at(0).member);
}

// Who only contacted us is answered, but a crowd of them costs no more than a few links: those used
// last.
TEST_F(TransportTest, LinksToContactsAreFewAndTheLeastUsedGoes) {
  constexpr uint64_t kLinksMax = 8;
  Transport a(kCluster, kA, {}, loop_.get());
  const auto answer = [&](uint64_t id) {
    a.Send(std::vector<raft::Message>{{kA, NodeId(id), Term(3), raft::HeartbeatResponse{1}}});
  };
  const auto linked = [&] {
    std::set<uint64_t> ids;
    for (const LinkStatus& link : a.Links()) ids.insert(link.id.value());
    return ids;
  };
  for (uint64_t id = 10; id < 10 + kLinksMax; ++id) {
    a.AddContact(NodeId(id), "http://127.0.0.1:1");
    answer(id);
  }
  EXPECT_EQ(linked(), (std::set<uint64_t>{10, 11, 12, 13, 14, 15, 16, 17}));
  answer(10);  // 11 is the one that was not used for longest
  a.AddContact(NodeId(30), "http://127.0.0.1:1");
  EXPECT_EQ(linked().size(), kLinksMax) << "no link before there is something to say";
  answer(30);
  EXPECT_EQ(linked(), (std::set<uint64_t>{10, 12, 13, 14, 15, 16, 17, 30}));
  // Members are no contacts: they don't count, and are not closed for one.
  a.SetMembers(MembersAt({{kA, "http://127.0.0.1:1"}, {kB, "http://127.0.0.1:1"}}));
  answer(11);
  EXPECT_EQ(linked(), (std::set<uint64_t>{2, 10, 11, 13, 14, 15, 16, 17, 30})) << "12 went";
}

// Where Transport reports that this node was removed.
struct RemovedReport {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> reasons;

  Transport::OnRemoved Callback() {
    return [this](const std::string& reason) {
      std::lock_guard lock(mutex);
      reasons.push_back(reason);
      changed.notify_all();
    };
  }
  bool Wait() {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30), [this] { return !reasons.empty(); });
  }
};

TEST_F(TransportTest, ARemovedMemberIsCutOffAndLearnsWhy) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  RemovedReport report;
  Transport a(kCluster, kA, Members(b.port()), loop_.get(), "", report.Callback());
  ASSERT_TRUE(SendUntilHeard(&a, Beat(1)[0], &b.inbox, 1));
  Membership without_a;
  without_a.voters = {kB};
  b.service()->SetMembers(without_a);  // not a member, but not removed either: it is heard
  const size_t heard = b.inbox.frames().size();
  ASSERT_TRUE(SendUntilHeard(&a, Beat(2)[0], &b.inbox, heard + 1));
  without_a.removed = {kA};
  b.service()->SetMembers(without_a);  // its open stream ends
  ASSERT_TRUE(report.Wait());
  EXPECT_NE(report.reasons[0].find("removed from the cluster"), std::string::npos)
      << report.reasons[0];
}

TEST_F(TransportTest, ARemovedMemberThatComesBackIsRefused) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  Membership without_a;
  without_a.voters = {kB};
  without_a.removed = {kA};
  b.service()->SetMembers(without_a);
  RemovedReport report;
  Transport a(kCluster, kA, Members(b.port()), loop_.get(), "", report.Callback());
  a.Send(Beat(1));
  ASSERT_TRUE(report.Wait());
  EXPECT_TRUE(b.inbox.frames().empty());
}

TEST(PeerHash, TheAnswerAndTheErrorCross) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  HashKvQuestion question{kCluster, kA, kB, b.url(), 7};
  const auto answer = AskHashKv(question);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, (HashKvAnswer{0xabcdef0123456789, 7, 2, Index(44)}));
  question.revision = 10;
  EXPECT_EQ(AskHashKv(question).status().code(), Code::kOutOfRange);
  question.cluster = ClusterId(78);
  EXPECT_EQ(AskHashKv(question).status().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace raftkv::server
