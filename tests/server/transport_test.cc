// The two halves of the peer network against each other, over loopback.

#include "server/transport.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "server/peer_codec.h"
#include "server/peer_service.h"

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
  explicit Receiver(ClusterId cluster, int port = 0)
      : service_(cluster, kB, {kA, kB}, [this](NodeId from, peer::v1::FrameBatch&& batch) {
          inbox.Add(from, std::move(batch));
        }) {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  ~Receiver() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }

  bool up() const { return server_ != nullptr && port_ != 0; }
  int port() const { return port_; }

  Inbox inbox;

 private:
  int port_ = 0;
  PeerService service_;
  std::unique_ptr<grpc::Server> server_;
};

std::vector<MemberOptions> Members(int port_b) {
  return {{"a", kA, {"127.0.0.1", 1}}, {"b", kB, {"127.0.0.1", static_cast<uint16_t>(port_b)}}};
}

std::vector<raft::Message> Beat(uint64_t round) {
  return {{kA, kB, Term(3), raft::Heartbeat{Index(1), round}}};
}

TEST(Transport, ArrivesInOrderWithTheSendersName) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, Members(b.port()));
  constexpr uint64_t kMessages = 500;
  for (uint64_t i = 1; i <= kMessages; ++i) a.Send(Beat(i));
  ASSERT_TRUE(b.inbox.WaitFor(kMessages));
  const auto frames = b.inbox.frames();
  for (uint64_t i = 0; i < kMessages; ++i) {
    EXPECT_EQ(frames[i].heartbeat().read_round(), i + 1);
    EXPECT_EQ(b.inbox.from(i), kA);
  }
}

TEST(Transport, AnotherClusterIsRefused) {
  Receiver b(ClusterId(78));
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, Members(b.port()));
  for (int i = 0; i < 5; ++i) {
    a.Send(Beat(1));
    EXPECT_FALSE(b.inbox.WaitFor(1, std::chrono::milliseconds(60)));
  }
}

TEST(Transport, ReconnectsAfterThePeerRestarted) {
  auto b = std::make_unique<Receiver>(kCluster);
  ASSERT_TRUE(b->up());
  const int port = b->port();
  Transport a(kCluster, kA, Members(port));
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

TEST(Transport, ForwardIsRefusedWithoutAConnection) {
  Receiver b(kCluster);
  ASSERT_TRUE(b.up());
  Transport a(kCluster, kA, Members(b.port()));
  // Nothing was ever sent: whether B is there is not known, so the write must not be given away.
  EXPECT_FALSE(a.Forward(kB, {"x"}));
  a.Send(Beat(1));
  ASSERT_TRUE(b.inbox.WaitFor(1));
  bool sent = false;
  for (int i = 0; i < 1000 && !sent; ++i) {
    sent = a.Forward(kB, {"one", "two"});
    if (!sent) std::this_thread::yield();
  }
  ASSERT_TRUE(sent);
  ASSERT_TRUE(b.inbox.WaitFor(2));
  EXPECT_EQ(b.inbox.frames()[1].forward().payloads_size(), 2);
}

TEST(Transport, StoppingWithAPeerThatIsNotThereDoesNotHang) {
  Transport a(kCluster, kA, Members(1));  // nobody listens on port 1
  a.Send(Beat(1));
  a.Stop();
}

}  // namespace
}  // namespace raftkv::server
