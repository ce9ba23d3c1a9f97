// What a node refuses without a leader, and while an alarm is raised; and on which thread it reads.

#include "server/backend.h"

#include <gtest/gtest.h>

#include <thread>

#include "server/loop_node.h"
#include "server/rpc_status.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

using etcdserverpb::AlarmRequest;

constexpr char kNoSpaceText[] = "etcdserver: mvcc: database space exceeded";
constexpr char kCorruptText[] = "etcdserver: corrupt cluster";

// Member 1, alone unless others are said to be there.
class BackendTest : public RaftLoopTest {
 protected:
  explicit BackendTest(int voters = 1, milliseconds timeout = seconds(30))
      : node_(dir_, voters, WithTimeout(timeout)),
        readers_(1),
        backend_(Options(), &node_.engine(), &node_.store(), &node_.apply_loop(), &node_.loop(),
                 /*event_loop=*/nullptr, &readers_, &readers_, {}) {}
  ~BackendTest() override { readers_.Stop(); }

  RaftLoopOptions WithTimeout(milliseconds timeout) {
    options_.request_timeout = timeout;
    return options_;
  }
  static ServerOptions Options() {
    ServerOptions options;
    options.id = NodeId(1);
    return options;
  }

  // Starts a call; its error text, or "".
  template <typename Response>
  std::string Call(const std::function<void(Done<Response>)>& start) {
    std::promise<Status> promise;
    start([&](Status status, Response&&) { promise.set_value(std::move(status)); });
    last_ = Await(promise.get_future());
    return last_.message();
  }

  std::string Put() {
    etcdserverpb::PutRequest request;
    request.set_key("k");
    return Call<etcdserverpb::PutResponse>(
        [&](auto done) { backend_.Put(request, {}, std::move(done)); });
  }
  std::string Delete() {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key("k");
    return Call<etcdserverpb::DeleteRangeResponse>(
        [&](auto done) { backend_.DeleteRange(request, {}, std::move(done)); });
  }
  std::string Txn(bool puts, bool nested = false) {
    etcdserverpb::TxnRequest request;
    auto* branch = &request;
    if (nested) branch = request.add_failure()->mutable_request_txn();
    if (puts) {
      branch->add_success()->mutable_request_put()->set_key("k");
    } else {
      branch->add_success()->mutable_request_delete_range()->set_key("k");
    }
    return Call<etcdserverpb::TxnResponse>(
        [&](auto done) { backend_.Txn(request, {}, std::move(done)); });
  }
  std::string ReadOnlyTxn() {
    etcdserverpb::TxnRequest request;
    request.add_success()->mutable_request_range()->set_key("k");
    return Call<etcdserverpb::TxnResponse>(
        [&](auto done) { backend_.Txn(request, {}, std::move(done)); });
  }
  std::string Compact() {
    etcdserverpb::CompactionRequest request;
    request.set_revision(node_.store().revision());
    return Call<etcdserverpb::CompactionResponse>(
        [&](auto done) { backend_.Compact(request, std::move(done)); });
  }
  std::string Get(bool serializable) {
    etcdserverpb::RangeRequest request;
    request.set_key("k");
    request.set_serializable(serializable);
    return Call<etcdserverpb::RangeResponse>(
        [&](auto done) { backend_.Range(request, std::move(done)); });
  }
  std::string Alarm(AlarmRequest::AlarmAction action, uint64_t member,
                    etcdserverpb::AlarmType type) {
    AlarmRequest request;
    request.set_action(action);
    request.set_memberid(member);
    request.set_alarm(type);
    return Call<etcdserverpb::AlarmResponse>(
        [&](auto done) { backend_.Alarm(request, std::move(done)); });
  }
  std::string Ready() {
    std::promise<Status> promise;
    backend_.Ready([&](Status status) { promise.set_value(std::move(status)); });
    return Await(promise.get_future()).message();
  }

  LoopNode node_;
  ReaderPool readers_;
  Backend backend_;
  Status last_;
};

class LeaderlessTest : public BackendTest {
 protected:
  LeaderlessTest() : BackendTest(3, milliseconds(50)) {}
};

TEST_F(LeaderlessTest, OnlySerializableReadsAreServed) {
  EXPECT_EQ(Get(/*serializable=*/true), "");
  EXPECT_EQ(Get(/*serializable=*/false), "etcdserver: no leader");
  EXPECT_EQ(ReadOnlyTxn(), "etcdserver: no leader");
  EXPECT_EQ(Alarm(AlarmRequest::GET, 0, etcdserverpb::NONE), "etcdserver: no leader");
}

// The alarms of member 1 are this node's own.
class AlarmTest : public BackendTest {
 protected:
  AlarmTest() { EXPECT_EQ(Put(), ""); }
};

TEST_F(AlarmTest, WithoutSpaceNothingIsPut) {
  ASSERT_EQ(Alarm(AlarmRequest::ACTIVATE, 2, etcdserverpb::NOSPACE), "");
  EXPECT_EQ(Put(), kNoSpaceText);
  EXPECT_EQ(last_.code(), Code::kResourceExhausted);
  EXPECT_EQ(Txn(/*puts=*/true), kNoSpaceText);
  EXPECT_EQ(Txn(/*puts=*/true, /*nested=*/true), kNoSpaceText);
  EXPECT_EQ(Txn(/*puts=*/false), "") << "what makes room goes on";
  EXPECT_EQ(Delete(), "");
  EXPECT_EQ(Compact(), "");
  EXPECT_EQ(Get(/*serializable=*/false), "");
  ASSERT_EQ(Alarm(AlarmRequest::DEACTIVATE, 2, etcdserverpb::NOSPACE), "");
  EXPECT_EQ(Put(), "");
}

TEST_F(AlarmTest, WithACorruptMemberNothingIsChanged) {
  ASSERT_EQ(Alarm(AlarmRequest::ACTIVATE, 2, etcdserverpb::CORRUPT), "");
  for (const std::string& refusal :
       {Put(), Delete(), Txn(/*puts=*/true), Txn(/*puts=*/false), Compact()}) {
    EXPECT_EQ(refusal, kCorruptText);
    EXPECT_EQ(last_.code(), Code::kCorruption);
  }
  EXPECT_EQ(Get(/*serializable=*/false), "") << "this member's data is good";
  EXPECT_EQ(Get(/*serializable=*/true), "");
  EXPECT_EQ(ReadOnlyTxn(), "");
  EXPECT_EQ(Ready(), "");
  ASSERT_EQ(Alarm(AlarmRequest::DEACTIVATE, 2, etcdserverpb::CORRUPT), "");
  EXPECT_EQ(Put(), "");
}

TEST_F(AlarmTest, TheCorruptMemberItselfServesNoReadsEither) {
  ASSERT_EQ(Alarm(AlarmRequest::ACTIVATE, 1, etcdserverpb::CORRUPT), "");
  EXPECT_EQ(Put(), kCorruptText);
  EXPECT_EQ(Get(/*serializable=*/false), kCorruptText);
  EXPECT_EQ(Get(/*serializable=*/true), kCorruptText);
  EXPECT_EQ(ReadOnlyTxn(), kCorruptText);
  EXPECT_EQ(Ready(), kCorruptText);
  // Or nobody could lower it.
  EXPECT_EQ(Alarm(AlarmRequest::GET, 0, etcdserverpb::NONE), "");
  ASSERT_EQ(Alarm(AlarmRequest::DEACTIVATE, 1, etcdserverpb::CORRUPT), "");
  EXPECT_EQ(Put(), "");
}

// With keys or values that are too much for one write.
class LargeWriteTest : public BackendTest {
 protected:
  void PutAll(const std::vector<std::pair<std::string, std::string>>& pairs) {
    for (const auto& [key, value] : pairs) {
      ASSERT_TRUE(Await(node_.Put(key, value)).status.ok());
    }
  }
  std::string DeleteAll(const std::string& key, const std::string& end, bool in_txn) {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(key);
    request.set_range_end(end);
    if (!in_txn) {
      return Call<etcdserverpb::DeleteRangeResponse>(
          [&](auto done) { backend_.DeleteRange(request, {}, std::move(done)); });
    }
    etcdserverpb::TxnRequest txn;
    *txn.add_success()->mutable_request_delete_range() = request;
    return Call<etcdserverpb::TxnResponse>(
        [&](auto done) { backend_.Txn(txn, {}, std::move(done)); });
  }
};

TEST_F(LargeWriteTest, AnAnswerThatIsTooLargeIsAnErrorThatSaysThatTheWriteWasApplied) {
  const std::string value(17 << 20, 'v');
  PutAll({{"a1", value}, {"a2", value}, {"a3", value}, {"a4", value}});
  etcdserverpb::TxnRequest txn;
  auto* range = txn.add_success()->mutable_request_range();
  range->set_key("a");
  range->set_range_end("b");
  txn.add_success()->mutable_request_put()->set_key("b");
  const std::string text =
      Call<etcdserverpb::TxnResponse>([&](auto done) { backend_.Txn(txn, {}, std::move(done)); });
  EXPECT_EQ(text,
            "raftkv: the write was applied once, at revision 6; its answer was too large to be "
            "given: read in parts, with a limit, at that revision or the one before it");
  EXPECT_EQ(ToGrpcCode(last_.code()), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_STREQ(OutcomeOf(last_), "applied");
  EXPECT_EQ(node_.store().revision(), 6);
}

TEST_F(LargeWriteTest, ADeleteOfTooManyKeysIsRefusedBeforeItIsProposed) {
  const std::string tail(24 << 20, 'k');
  PutAll({{"a1" + tail, "1"}, {"a2" + tail, "1"}, {"a3" + tail, "1"}, {"a4" + tail, "1"}});
  const int64_t revision = node_.store().revision();
  for (const bool in_txn : {false, true}) {
    EXPECT_EQ(DeleteAll("a", "b", in_txn),
              "raftkv: this would delete more than 1000000 keys (or 100000000 bytes of keys) at "
              "once; delete in smaller ranges");
    EXPECT_STREQ(OutcomeOf(last_), "not-applied");
  }
  EXPECT_EQ(node_.store().revision(), revision);
  EXPECT_EQ(DeleteAll("a", "a4", false), "");
  EXPECT_EQ(DeleteAll("a", "b", true), "");
  EXPECT_EQ(node_.store().revision(), revision + 2);
}

TEST(Outcome, SaysWhatBecameOfAWriteThatFailed) {
  EXPECT_STREQ(OutcomeOf({Code::kOutcomeUnknown, "etcdserver: request timed out"}), "unknown");
  EXPECT_STREQ(OutcomeOf({Code::kUnavailable, "etcdserver: no leader"}), "not-applied");
  EXPECT_STREQ(OutcomeOf(store::ErrSessionAnswerTooLarge(7)), "applied");
}

// A node whose raft takes its turns on the event loop, with the key "k" put.
class ReadThreadTest : public RaftLoopTest {
 protected:
  ReadThreadTest()
      : node_(dir_, /*voters=*/1, options_, {}, {}, /*on_event_loop=*/true),
        readers_(1),
        backend_({}, &node_.engine(), &node_.store(), &node_.apply_loop(), &node_.loop(),
                 node_.event_loop(), &readers_, &readers_, {}) {
    EXPECT_TRUE(Await(node_.Put("k", "1")).status.ok());
    node_.loop().ReadBarrier(
        [this](Status) { loop_thread_.set_value(std::this_thread::get_id()); });
    loop_ = Await(loop_thread_.get_future());
  }
  ~ReadThreadTest() override { readers_.Stop(); }

  // Reads "k", and says whether it was answered on the loop's thread.
  bool AtOnce(bool serializable, const std::string& end = "") {
    etcdserverpb::RangeRequest request;
    request.set_key("k");
    request.set_range_end(end);
    request.set_serializable(serializable);
    std::promise<std::thread::id> thread;
    const auto ask = [&] {
      backend_.Range(request, [&](Status status, etcdserverpb::RangeResponse&& response) {
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_EQ(response.count(), 1);
        EXPECT_EQ(response.header().revision(), node_.store().revision());
        thread.set_value(std::this_thread::get_id());
      });
    };
    if (serializable) {
      OnLoop(ask);
    } else {
      ask();
    }
    return Await(thread.get_future()) == loop_;
  }
  // Raft's thread is the loop's.
  void OnLoop(const std::function<void()>& work) {
    std::promise<void> done;
    node_.loop().ReadBarrier([&](Status) {
      EXPECT_EQ(std::this_thread::get_id(), loop_);
      work();
      done.set_value();
    });
    Await(done.get_future());
  }

  std::promise<std::thread::id> loop_thread_;
  std::thread::id loop_;
  LoopNode node_;
  ReaderPool readers_;
  Backend backend_;
};

TEST_F(ReadThreadTest, OneKeyThatIsInMemoryIsReadOnTheEventLoop) {
  EXPECT_TRUE(AtOnce(/*serializable=*/true));
  EXPECT_TRUE(AtOnce(/*serializable=*/false));
  EXPECT_FALSE(AtOnce(/*serializable=*/true, "l")) << "a range may take long";
  EXPECT_FALSE(AtOnce(/*serializable=*/false, "l"));
}

TEST_F(ReadThreadTest, TheDiskIsReadByAReader) {
  ASSERT_TRUE(node_.engine().FlushKv().ok());
  EXPECT_FALSE(AtOnce(/*serializable=*/false));
  EXPECT_TRUE(AtOnce(/*serializable=*/false)) << "it is in the block cache now";
  EXPECT_TRUE(AtOnce(/*serializable=*/true));
}

TEST_F(ReadThreadTest, AnotherThreadThanTheLoopLeavesItToAReader) {
  etcdserverpb::RangeRequest request;
  request.set_key("k");
  request.set_serializable(true);
  std::promise<std::thread::id> thread;
  backend_.Range(request, [&](Status, etcdserverpb::RangeResponse&&) {
    thread.set_value(std::this_thread::get_id());
  });
  const std::thread::id answered = Await(thread.get_future());
  EXPECT_NE(answered, loop_);
  EXPECT_NE(answered, std::this_thread::get_id());
}

// However many reads there are, raft has its turn.
TEST_F(ReadThreadTest, ManyReadsLeaveTheLoopItsTime) {
  etcdserverpb::RangeRequest request;
  request.set_key("k");
  request.set_serializable(true);
  std::promise<std::thread::id> thread;
  OnLoop([&] {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (node_.event_loop()->HasTime() && std::chrono::steady_clock::now() < until) {
      backend_.Range(request, [](Status, etcdserverpb::RangeResponse&&) {});
    }
    backend_.Range(request, [&](Status, etcdserverpb::RangeResponse&&) {
      thread.set_value(std::this_thread::get_id());
    });
  });
  EXPECT_NE(Await(thread.get_future()), loop_);
}

}  // namespace
}  // namespace raftkv::server
