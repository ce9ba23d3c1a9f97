// Sender and receiver of snapshots against each other, over loopback, with fakes for the store: a
// chunk is "<snapshot>:<number>:<text>", and the last one says "end".

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>

#include "server/peer_channel.h"
#include "server/peer_node.h"
#include "server/snapshot_receiver.h"
#include "server/snapshot_sender.h"

namespace raftkv::server {
namespace {

const ClusterId kCluster(77);
const NodeId kLeader(1);
const NodeId kFollower(2);
constexpr auto kPatience = std::chrono::seconds(30);

std::string ChunkOf(uint64_t snapshot, uint64_t number, uint64_t chunks) {
  return std::to_string(snapshot) + ":" + std::to_string(number) + ":" +
         (number + 1 == chunks ? "end" : std::string(1000, 'x'));
}

// What happens at the fakes; tests wait for it, bounded by kPatience.
struct Events {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::pair<NodeId, Index>> sent;
  std::vector<raft::SnapshotMeta> ready;
  std::vector<Term> ready_terms;
  std::vector<uint64_t> taken;  // chunks, by all sinks
  std::set<uint64_t> sinks;     // snapshots that one was opened for
  int sources = 0;

  template <typename Condition>
  bool Wait(Condition condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, kPatience, condition);
  }
  template <typename Change>
  void Do(Change change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
};

class FakeSource : public ChunkSource {
 public:
  using Spoil = std::function<void(uint64_t number, std::string* chunk)>;
  FakeSource(uint64_t id, LogPosition last, uint64_t chunks, Spoil spoil)
      : id_(id), last_(last), chunks_(chunks), spoil_(std::move(spoil)) {}

  uint64_t id() const override { return id_; }
  LogPosition last() const override { return last_; }
  uint64_t bytes_expected() const override { return chunks_ * 1000; }
  StatusOr<bool> Next(std::string* chunk) override {
    if (next_ == chunks_) return false;
    *chunk = ChunkOf(id_, next_, chunks_);
    if (spoil_) spoil_(next_, chunk);
    read_ = std::max(read_, ++next_);
    return true;
  }
  Status Rewind(uint64_t number) override {
    if (number > read_) return {Code::kInternal, "rewound to a chunk that was not read"};
    next_ = number;
    return Status::Ok();
  }

 private:
  const uint64_t id_;
  const LogPosition last_;
  const uint64_t chunks_;
  const Spoil spoil_;
  uint64_t next_ = 0;
  uint64_t read_ = 0;
};

class FakeSink : public ChunkSink {
 public:
  FakeSink(Events* events, uint64_t id) : events_(events), id_(id) {}

  Status Add(std::string_view chunk) override {
    const std::string prefix = std::to_string(id_) + ":" + std::to_string(next_) + ":";
    if (!chunk.starts_with(prefix)) return {Code::kInvalidArgument, "not chunk " + prefix};
    complete_ = chunk.ends_with(":end");
    events_->Do([&] { events_->taken.push_back(next_); });
    ++next_;
    return Status::Ok();
  }
  uint64_t next_chunk() const override { return next_; }
  bool complete() const override { return complete_; }
  StatusOr<raft::SnapshotMeta> Finish() override {
    if (id_ == 666) return Status(Code::kCorruption, "the digest differs");
    return raft::SnapshotMeta{{Index(id_), Term(2)}, {}, id_};
  }

 private:
  Events* const events_;
  const uint64_t id_;
  uint64_t next_ = 0;
  bool complete_ = false;
};

// The follower: a receiver behind a peer service. Its server can be restarted, as when the
// connection breaks.
class Follower {
 public:
  explicit Follower(Events* events) : events_(events) {
    directory_ = std::filesystem::temp_directory_path() /
                 ("raftkv_snapshot_test." + std::to_string(getpid()));
    std::filesystem::create_directories(directory_ + "/left_over");
    auto receiver = SnapshotReceiver::Start(
        directory_,
        [this](const std::string& directory, uint64_t id) -> StatusOr<std::unique_ptr<ChunkSink>> {
          EXPECT_TRUE(std::filesystem::is_empty(directory));
          events_->Do([&] { events_->sinks.insert(id); });
          return std::unique_ptr<ChunkSink>(std::make_unique<FakeSink>(events_, id));
        },
        [this](NodeId from, Term term, raft::SnapshotMeta meta) {
          EXPECT_EQ(from, kLeader);
          events_->Do([&] {
            events_->ready.push_back(meta);
            events_->ready_terms.push_back(term);
          });
        });
    EXPECT_TRUE(receiver.ok()) << receiver.status();
    receiver_ = *std::move(receiver);
    EXPECT_TRUE(std::filesystem::is_empty(directory_)) << "leftovers are removed at start";
    StartServer();
  }
  ~Follower() {
    receiver_->Stop();
    StopServer();
    receiver_.reset();
    EXPECT_TRUE(std::filesystem::is_empty(directory_)) << "nothing is left behind";
    std::filesystem::remove_all(directory_);
  }

  void StartServer() {
    PeerHandlers handlers;
    handlers.snapshots = receiver_.get();
    peer_ = std::make_unique<ListeningPeer>(kCluster, kFollower, handlers, port_);
    ASSERT_TRUE(peer_->up());
    if (port_ == 0) port_ = peer_->port();  // the sender's thread reads it from then on
  }
  void StopServer() { peer_.reset(); }

  Url url() const { return {"127.0.0.1", static_cast<uint16_t>(port_)}; }
  PeerService* service() { return peer_->service(); }
  const SnapshotReceiver& receiver() const { return *receiver_; }

 private:
  Events* const events_;
  std::string directory_;
  int port_ = 0;
  std::unique_ptr<SnapshotReceiver> receiver_;
  std::unique_ptr<ListeningPeer> peer_;
};

class SnapshotTransfer : public testing::Test {
 protected:
  void Start(uint64_t id, uint64_t chunks, FakeSource::Spoil spoil = nullptr) {
    options_.cluster = kCluster;
    options_.self = kLeader;
    sender_ = std::make_unique<SnapshotSender>(
        options_,
        [this, id, chunks, spoil]() -> StatusOr<std::unique_ptr<ChunkSource>> {
          int n = 0;
          events_.Do([&] { n = events_.sources++; });
          return std::unique_ptr<ChunkSource>(std::make_unique<FakeSource>(
              id + n, LogPosition{Index(id + n), Term(2)}, chunks, spoil));
        },
        [this](NodeId) { return std::optional<Url>(follower_.url()); },
        [this](NodeId to, Index last) {
          events_.Do([&] { events_.sent.emplace_back(to, last); });
        });
  }
  bool WaitSent(size_t n) {
    return events_.Wait([&] { return events_.sent.size() >= n; });
  }

  Events events_;
  Follower follower_{&events_};
  SnapshotSenderOptions options_;
  std::unique_ptr<SnapshotSender> sender_;
};

// A hand-made sender's stream.
struct RawStream {
  explicit RawStream(const Url& url) : stub(peer::v1::Peer::NewStub(MakePeerChannel(url))) {
    AddPeerMetadata(&context, kCluster, kLeader, kFollower, "");
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    stream = stub->Snapshot(&context);
  }
  ~RawStream() {
    context.TryCancel();
    if (!finished) (void)stream->Finish();
  }
  grpc::Status Finish() {
    finished = true;
    return stream->Finish();
  }
  peer::v1::SnapshotAnswer Begin(uint64_t term, uint64_t snapshot, uint64_t index) {
    peer::v1::SnapshotPart part;
    part.mutable_start()->set_term(term);
    part.mutable_start()->set_snapshot(snapshot);
    part.mutable_start()->set_transfer(snapshot * 10);
    part.mutable_start()->mutable_last()->set_index(index);
    return Exchange(part);
  }
  peer::v1::SnapshotAnswer Chunk(uint64_t number, const std::string& data) {
    peer::v1::SnapshotPart part;
    part.mutable_chunk()->set_number(number);
    part.mutable_chunk()->set_data(data);
    return Exchange(part);
  }
  peer::v1::SnapshotAnswer Exchange(const peer::v1::SnapshotPart& part) {
    peer::v1::SnapshotAnswer answer;
    answer.set_reason("the stream ended");
    if (stream->Write(part)) (void)stream->Read(&answer);
    return answer;
  }

  std::unique_ptr<peer::v1::Peer::Stub> stub;
  grpc::ClientContext context;
  bool finished = false;
  std::unique_ptr<grpc::ClientReaderWriter<peer::v1::SnapshotPart, peer::v1::SnapshotAnswer>>
      stream;
};

using Answer = peer::v1::SnapshotAnswer;

TEST_F(SnapshotTransfer, ArrivesWholeAndInOrder) {
  Start(100, 50);
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0], (std::pair{kFollower, Index(100)}));
  ASSERT_EQ(events_.ready.size(), 1u);
  EXPECT_EQ(events_.ready[0].id, 100u);
  EXPECT_EQ(events_.ready_terms[0], Term(5));
  ASSERT_EQ(events_.taken.size(), 50u);
  for (uint64_t i = 0; i < 50; ++i) EXPECT_EQ(events_.taken[i], i);
  uint64_t bytes = 0;
  for (uint64_t i = 0; i < 50; ++i) bytes += ChunkOf(100, i, 50).size();
  for (const TransferStats& stats : {sender_->stats(), follower_.receiver().stats()}) {
    EXPECT_EQ(stats.completed, 1u);
    EXPECT_EQ(stats.failed, 0u);
    EXPECT_EQ(stats.bytes, bytes);
    EXPECT_GT(stats.seconds, 0);
  }
}

TEST_F(SnapshotTransfer, ASecondRequestUsesTheSameSnapshotWhileItReachesFarEnough) {
  Start(100, 3);
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  sender_->Send(kFollower, Term(5), Index(101));
  ASSERT_TRUE(WaitSent(2));
  EXPECT_EQ(events_.sources, 1);
  EXPECT_EQ(events_.ready.size(), 2u) << "it was asked for again, so it is delivered again";
  sender_->Send(kFollower, Term(5), Index(102));
  ASSERT_TRUE(WaitSent(3));
  EXPECT_EQ(events_.sources, 2);
  EXPECT_EQ(events_.sent[2].second, Index(101));
}

TEST_F(SnapshotTransfer, GoesOnWhereItWasAfterABrokenConnection) {
  std::mutex gate;
  std::condition_variable opened;
  bool open = false;
  Start(100, 40, [&](uint64_t number, std::string*) {
    std::unique_lock lock(gate);
    if (number == 20) opened.wait_for(lock, kPatience, [&] { return open; });
  });
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(events_.Wait([&] { return events_.taken.size() >= 10; }));
  follower_.StopServer();
  follower_.StartServer();
  {
    std::lock_guard lock(gate);
    open = true;
  }
  opened.notify_all();
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0].second, Index(100));
  ASSERT_EQ(events_.taken.size(), 40u) << "no chunk was taken twice";
  EXPECT_EQ(events_.sinks.size(), 1u);
}

TEST_F(SnapshotTransfer, ADamagedChunkIsSentAgain) {
  int spoiled = 0;
  Start(100, 30, [&](uint64_t number, std::string* chunk) {
    if (number == 7 && spoiled++ < 2) chunk->at(0) ^= 1;
  });
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0].second, Index(100));
  EXPECT_EQ(spoiled, 3);
  EXPECT_EQ(events_.taken.size(), 30u);
}

TEST_F(SnapshotTransfer, AChunkThatIsDamagedEveryTimeEndsIt) {
  Start(100, 30, [&](uint64_t number, std::string* chunk) {
    // What another snapshot's chunk 7 looks like.
    if (number == 7) *chunk = ChunkOf(99, 7, 30);
  });
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0].second, Index());
  EXPECT_TRUE(events_.ready.empty());
  EXPECT_EQ(sender_->stats().failed, 1u);
  EXPECT_EQ(sender_->stats().completed, 0u);
  EXPECT_EQ(sender_->stats().seconds, 0);
}

TEST_F(SnapshotTransfer, OneThatDoesNotVerifyAsAWholeIsRefused) {
  Start(666, 4);
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0].second, Index());
  EXPECT_TRUE(events_.ready.empty());
  EXPECT_EQ(follower_.receiver().stats().failed, 1u);
  EXPECT_EQ(follower_.receiver().stats().completed, 0u);
}

TEST_F(SnapshotTransfer, AReceiverThatIsNotThereIsGivenUp) {
  options_.give_up = std::chrono::milliseconds(50);
  options_.reconnect_pause = std::chrono::milliseconds(10);
  follower_.StopServer();
  Start(100, 4);
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0].second, Index());
}

TEST_F(SnapshotTransfer, ALeaderThatStepsDownAbandonsIt) {
  Start(100, 1000000);
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(events_.Wait([&] { return events_.taken.size() >= 3; }));
  sender_->CancelAll();
  ASSERT_TRUE(WaitSent(1));
  EXPECT_EQ(events_.sent[0].second, Index());
}

TEST_F(SnapshotTransfer, StoppingInTheMiddleDoesNotHang) {
  Start(100, 1000000);
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(events_.Wait([&] { return events_.taken.size() >= 3; }));
  sender_->Stop();
}

TEST_F(SnapshotTransfer, KeepsToItsRate) {
  // A clock that only the sender's own pauses move: the time it takes is what it waited.
  struct FakeTime {
    std::mutex mutex;
    std::chrono::steady_clock::time_point now{std::chrono::hours(1)};
  };
  auto time = std::make_shared<FakeTime>();
  const auto start = time->now;
  options_.rate_bytes = 10'000;
  options_.now = [time] {
    std::lock_guard lock(time->mutex);
    return time->now;
  };
  options_.pause = [time](std::chrono::nanoseconds duration) {
    std::lock_guard lock(time->mutex);
    time->now += duration;
  };
  Start(100, 101);  // a good 100 kB
  sender_->Send(kFollower, Term(5), Index(90));
  ASSERT_TRUE(WaitSent(1));
  const double seconds = std::chrono::duration<double>(options_.now() - start).count();
  EXPECT_GE(seconds, 9.8);
  EXPECT_LE(seconds, 10.5);
}

TEST_F(SnapshotTransfer, AHigherPositionOvertakesALowerOneIsRefused) {
  RawStream first(follower_.url());
  ASSERT_EQ(first.Begin(5, 10, 10).outcome(), Answer::CONTINUE);
  ASSERT_EQ(first.Chunk(0, ChunkOf(10, 0, 3)).next_chunk(), 1u);
  RawStream lower(follower_.url());
  EXPECT_EQ(lower.Begin(5, 9, 9).outcome(), Answer::REFUSED);
  RawStream former_leader(follower_.url());
  EXPECT_EQ(former_leader.Begin(4, 12, 12).outcome(), Answer::REFUSED);
  ASSERT_EQ(first.Chunk(1, ChunkOf(10, 1, 3)).next_chunk(), 2u);
  RawStream second(follower_.url());
  ASSERT_EQ(second.Begin(5, 11, 11).next_chunk(), 0u);
  EXPECT_EQ(first.Chunk(2, ChunkOf(10, 2, 3)).reason(), "the stream ended");
  ASSERT_EQ(second.Chunk(0, ChunkOf(11, 0, 2)).next_chunk(), 1u);
  EXPECT_EQ(second.Chunk(1, ChunkOf(11, 1, 2)).outcome(), Answer::DELIVERED);
  ASSERT_EQ(events_.ready.size(), 1u);
  EXPECT_EQ(events_.ready[0].id, 11u);
}

TEST_F(SnapshotTransfer, TheStreamOfASenderThatIsRemovedEnds) {
  RawStream open(follower_.url());
  ASSERT_EQ(open.Begin(5, 10, 10).outcome(), Answer::CONTINUE);
  Membership without_it;
  without_it.voters = {kFollower};
  without_it.removed = {kLeader};
  follower_.service()->SetMembers(without_it);
  Answer answer;
  EXPECT_FALSE(open.stream->Read(&answer)) << "it did not have to send anything";
  EXPECT_TRUE(IsRemovedStatus(open.Finish()));
}

TEST_F(SnapshotTransfer, ChunksOutOfTurnAndOfOthersAreNotTaken) {
  RawStream raw(follower_.url());
  ASSERT_EQ(raw.Begin(5, 10, 10).outcome(), Answer::CONTINUE);
  const Answer skipped = raw.Chunk(1, ChunkOf(10, 1, 3));
  EXPECT_EQ(skipped.outcome(), Answer::RESEND);
  EXPECT_EQ(skipped.next_chunk(), 0u);
  EXPECT_EQ(raw.Chunk(0, ChunkOf(9, 0, 3)).outcome(), Answer::RESEND);
  EXPECT_EQ(raw.Chunk(0, ChunkOf(10, 0, 3)).next_chunk(), 1u);
}

TEST_F(SnapshotTransfer, WhoAsksAgainAboutADeliveredOneIsToldSo) {
  {
    RawStream raw(follower_.url());
    ASSERT_EQ(raw.Begin(5, 10, 10).outcome(), Answer::CONTINUE);
    ASSERT_EQ(raw.Chunk(0, ChunkOf(10, 0, 1)).outcome(), Answer::DELIVERED);
  }
  // As when the answer was lost with the connection.
  RawStream again(follower_.url());
  EXPECT_EQ(again.Begin(5, 10, 10).outcome(), Answer::DELIVERED);
  EXPECT_EQ(events_.ready.size(), 1u);
}

}  // namespace
}  // namespace raftkv::server
