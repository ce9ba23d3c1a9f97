// raftkvctl's retries against real gRPC servers in this process that answer as told.
#include "tools/ctl/client.h"

#include <deque>
#include <future>
#include <mutex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rpc.grpc.pb.h"
#include "store/kv_errors.h"
#include "tools/ctl/commands.h"
#include "tools/fake_service.h"

namespace raftkv::tools::ctl {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::HasSubstr;

// A session as a server saw it.
struct Seen {
  std::string client;
  std::string sequence;
};

// How one call is answered.
struct Scripted {
  StatusCode code;
  std::string message = "scripted";
};

using Script = std::deque<Scripted>;

// A node that answers each call with the next of its script, and OK when there is no more of it.
class FakeNode : public etcdserverpb::KV::Service, public etcdserverpb::Maintenance::Service {
 public:
  explicit FakeNode(Script script = {}) : script_(std::move(script)) {}
  ~FakeNode() override {
    released_.set_value();
    server_.Stop();
  }

  // Every call hangs until the node goes away.
  void Hang() { hangs_ = true; }
  // The id it claims, and whom it says leads.
  void SetLeader(uint64_t id, uint64_t leader) {
    id_ = id;
    leader_ = leader;
  }

  const std::string& endpoint() const { return server_.endpoint(); }
  std::vector<Seen> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

  grpc::Status Range(grpc::ServerContext* context, const etcdserverpb::RangeRequest*,
                     etcdserverpb::RangeResponse* response) override {
    response->set_count(7);
    return Answer(context);
  }
  grpc::Status Put(grpc::ServerContext* context, const etcdserverpb::PutRequest*,
                   etcdserverpb::PutResponse*) override {
    return Answer(context);
  }
  grpc::Status MoveLeader(grpc::ServerContext* context, const etcdserverpb::MoveLeaderRequest*,
                          etcdserverpb::MoveLeaderResponse*) override {
    return Answer(context);
  }
  grpc::Status Status(grpc::ServerContext*, const etcdserverpb::StatusRequest*,
                      etcdserverpb::StatusResponse* response) override {
    response->mutable_header()->set_member_id(id_);
    response->set_leader(leader_);
    return grpc::Status::OK;
  }

 private:
  grpc::Status Answer(grpc::ServerContext* context) {
    const auto& metadata = context->client_metadata();
    const auto value = [&](const char* name) {
      const auto it = metadata.find(name);
      return it == metadata.end() ? "" : std::string(it->second.data(), it->second.size());
    };
    Scripted answer{StatusCode::OK};
    {
      std::lock_guard lock(mutex_);
      seen_.push_back({value("raftkv-client"), value("raftkv-sequence")});
      if (!script_.empty()) {
        answer = script_.front();
        script_.pop_front();
      }
    }
    if (hangs_) release_.wait();
    return answer.code == StatusCode::OK ? grpc::Status::OK
                                         : grpc::Status(answer.code, answer.message);
  }

  std::promise<void> released_;
  std::shared_future<void> release_ = released_.get_future().share();
  std::atomic<bool> hangs_ = false;
  uint64_t id_ = 0;
  uint64_t leader_ = 0;
  std::mutex mutex_;
  Script script_;
  std::vector<Seen> seen_;
  FakeServer server_{static_cast<etcdserverpb::KV::Service*>(this),
                     static_cast<etcdserverpb::Maintenance::Service*>(this)};
};

// An address that nothing listens on: it was free a moment ago.
std::string DeadEndpoint() { return FakeNode().endpoint(); }

class CtlClientTest : public testing::Test {
 protected:
  int Put(std::vector<std::string> endpoints, milliseconds timeout = milliseconds(5000)) {
    Client client = NewClient(std::move(endpoints), timeout);
    return Put(&client);
  }
  int Put(Client* client) {
    etcdserverpb::PutRequest request;
    request.set_key("k");
    return RunPut(client, output_, request);
  }
  int Get(std::vector<std::string> endpoints, milliseconds timeout = milliseconds(5000)) {
    Client client = NewClient(std::move(endpoints), timeout);
    etcdserverpb::RangeRequest request;
    request.set_key("k");
    request.set_count_only(true);
    return RunGet(&client, output_, request);
  }
  Client NewClient(std::vector<std::string> endpoints, milliseconds timeout) {
    ClientOptions options;
    options.endpoints = std::move(endpoints);
    options.command_timeout = timeout;
    return Client(options, &clock_);
  }

  SkippingClock clock_;
  std::unique_ptr<Printer> printer_ = NewSimplePrinter({});
  std::ostringstream out_;
  std::ostringstream err_;
  const Output output_{printer_.get(), &out_, &err_};
};

TEST_F(CtlClientTest, AReadGoesToTheNextEndpointWhenOneIsUnavailable) {
  FakeNode first(Script{{StatusCode::UNAVAILABLE}});
  FakeNode second;
  EXPECT_EQ(Get({first.endpoint(), second.endpoint()}), kExitOk);
  EXPECT_EQ(out_.str(), "7\n");
  EXPECT_EQ(first.seen().size(), 1u);
  EXPECT_EQ(second.seen().size(), 1u);
}

TEST_F(CtlClientTest, AReadGoesToTheNextEndpointWhenOneIsDown) {
  FakeNode second;
  EXPECT_EQ(Get({DeadEndpoint(), second.endpoint()}), kExitOk);
  EXPECT_EQ(out_.str(), "7\n");
}

TEST_F(CtlClientTest, AReadDoesNotWaitForEverAtAnEndpointThatHangs) {
  FakeNode first;
  first.Hang();
  FakeNode second;
  EXPECT_EQ(Get({first.endpoint(), second.endpoint()}, milliseconds(1000)), kExitOk);
  EXPECT_EQ(first.seen().size(), 1u);
}

TEST_F(CtlClientTest, AReadHasNoSession) {
  FakeNode node;
  EXPECT_EQ(Get({node.endpoint()}), kExitOk);
  ASSERT_EQ(node.seen().size(), 1u);
  EXPECT_EQ(node.seen()[0].client, "");
}

TEST_F(CtlClientTest, AReadThatIsRefusedIsNotSentAgain) {
  FakeNode node(Script{{StatusCode::OUT_OF_RANGE}});
  EXPECT_EQ(Get({node.endpoint()}), kExitFailed);
  EXPECT_EQ(node.seen().size(), 1u);
  EXPECT_EQ(err_.str(), "raftkvctl: get: scripted\n");
}

TEST_F(CtlClientTest, AWriteIsSentAgainUnderTheSameSessionAndSequence) {
  FakeNode node(Script{{StatusCode::UNAVAILABLE}, {StatusCode::UNAVAILABLE}});
  EXPECT_EQ(Put({node.endpoint()}), kExitOk);
  EXPECT_EQ(out_.str(), "OK\n");
  const std::vector<Seen> seen = node.seen();
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].client.size(), 32u);
  for (const Seen& one : seen) {
    EXPECT_EQ(one.client, seen[0].client);
    EXPECT_EQ(one.sequence, "1");
  }
}

TEST_F(CtlClientTest, TheNextWriteHasTheNextSequence) {
  FakeNode node;
  Client client = NewClient({node.endpoint()}, milliseconds(5000));
  EXPECT_EQ(Put(&client), kExitOk);
  EXPECT_EQ(Put(&client), kExitOk);
  ASSERT_EQ(node.seen().size(), 2u);
  EXPECT_EQ(node.seen()[0].sequence, "1");
  EXPECT_EQ(node.seen()[1].sequence, "2");
  EXPECT_EQ(node.seen()[0].client, node.seen()[1].client);
}

TEST_F(CtlClientTest, TwoInvocationsHaveDifferentSessions) {
  FakeNode node;
  EXPECT_EQ(Put({node.endpoint()}), kExitOk);
  EXPECT_EQ(Put({node.endpoint()}), kExitOk);
  ASSERT_EQ(node.seen().size(), 2u);
  EXPECT_NE(node.seen()[0].client, node.seen()[1].client);
}

TEST_F(CtlClientTest, AWriteWithoutAnAnswerInTimeIsUnknown) {
  FakeNode node;
  node.Hang();
  EXPECT_EQ(Put({node.endpoint()}, milliseconds(200)), kExitUnknown);
  EXPECT_THAT(err_.str(), HasSubstr("outcome unknown: the write may still be applied"));
}

TEST_F(CtlClientTest, AWriteThatIsAlwaysUnavailableIsUnknown) {
  FakeNode node(Script(1000, {StatusCode::UNAVAILABLE}));
  EXPECT_EQ(Put({node.endpoint()}), kExitUnknown);
  EXPECT_GT(node.seen().size(), 3u);
}

TEST_F(CtlClientTest, AWriteThatNeverLeftFailed) {
  EXPECT_EQ(Put({DeadEndpoint()}, milliseconds(300)), kExitFailed);
  EXPECT_THAT(err_.str(), HasSubstr("can't connect to 127.0.0.1:"));
}

TEST_F(CtlClientTest, AWriteThatIsRefusedIsNotSentAgain) {
  FakeNode node(Script{{StatusCode::INVALID_ARGUMENT}});
  EXPECT_EQ(Put({node.endpoint()}), kExitFailed);
  EXPECT_EQ(node.seen().size(), 1u);
}

TEST_F(CtlClientTest, TooManyRequestsIsADefiniteFailureOnlyIfNoEarlierTryMayHaveWorked) {
  FakeNode fresh(Script{{StatusCode::RESOURCE_EXHAUSTED}});
  EXPECT_EQ(Put({fresh.endpoint()}), kExitFailed);
  EXPECT_EQ(fresh.seen().size(), 1u);
  FakeNode doubtful(Script{{StatusCode::UNAVAILABLE}, {StatusCode::RESOURCE_EXHAUSTED}});
  EXPECT_EQ(Put({doubtful.endpoint()}), kExitOk);
  EXPECT_EQ(doubtful.seen().size(), 3u);
}

TEST_F(CtlClientTest, WithoutRoomForASessionAWriteIsSentWithoutOneAndThenOnlyOnce) {
  const Scripted full{StatusCode::RESOURCE_EXHAUSTED, "raftkv: too many sessions"};
  FakeNode works(Script{full});
  EXPECT_EQ(Put({works.endpoint()}), kExitOk);
  ASSERT_EQ(works.seen().size(), 2u);
  EXPECT_NE(works.seen()[0].client, "");
  EXPECT_EQ(works.seen()[1].client, "");
  FakeNode fails(Script{full, {StatusCode::UNAVAILABLE}});
  EXPECT_EQ(Put({fails.endpoint()}), kExitUnknown);
  EXPECT_EQ(fails.seen().size(), 2u);
}

TEST_F(CtlClientTest, ADoubtfulWriteNeverLosesItsSession) {
  FakeNode node(
      {{StatusCode::UNAVAILABLE}, {StatusCode::RESOURCE_EXHAUSTED, "raftkv: too many sessions"}});
  EXPECT_EQ(Put({node.endpoint()}), kExitOk);
  ASSERT_EQ(node.seen().size(), 3u);
  EXPECT_EQ(node.seen()[2].client, node.seen()[0].client);
}

TEST_F(CtlClientTest, AWriteThatWasAppliedButHasNoAnswerIsNotCalledAFailure) {
  FakeNode node(
      Script{{StatusCode::UNAVAILABLE},
             {StatusCode::OUT_OF_RANGE,
              "raftkv: the write was applied once, at revision 7; its answer was too large"}});
  EXPECT_EQ(Put({node.endpoint()}), kExitUnknown);
  EXPECT_THAT(err_.str(), HasSubstr("the answer is lost (raftkv: the write was applied once"));
}

TEST_F(CtlClientTest, MoveLeaderIsSentOnceAndToTheLeader) {
  FakeNode follower;
  follower.SetLeader(2, 1);
  FakeNode leader(Script{{StatusCode::UNAVAILABLE}});
  leader.SetLeader(1, 1);
  Client client = NewClient({follower.endpoint(), leader.endpoint()}, milliseconds(5000));
  EXPECT_EQ(RunMoveLeader(&client, output_, 2), kExitUnknown);
  EXPECT_EQ(follower.seen().size(), 0u);
  ASSERT_EQ(leader.seen().size(), 1u);
  EXPECT_EQ(leader.seen()[0].client, "");
  EXPECT_THAT(err_.str(), HasSubstr("leadership may still move"));
  EXPECT_EQ(RunMoveLeader(&client, output_, 2), kExitOk);
  EXPECT_EQ(out_.str(), "Leadership transferred from 1 to 2\n");
}

TEST_F(CtlClientTest, StatusAndHealthAskEachEndpointOnceAndFailIfOneDoes) {
  FakeNode good;
  good.SetLeader(1, 1);
  FakeNode bad(Script{{StatusCode::UNAVAILABLE}});
  Client client = NewClient({good.endpoint(), bad.endpoint()}, milliseconds(5000));
  EXPECT_EQ(RunHealth(&client, output_, /*cluster=*/false), kExitFailed);
  EXPECT_THAT(out_.str(), HasSubstr(good.endpoint() + " is healthy: "));
  EXPECT_THAT(out_.str(), HasSubstr(bad.endpoint() + " is unhealthy: failed to commit proposal: "));
  EXPECT_EQ(bad.seen().size(), 1u);
  EXPECT_EQ(RunHealth(&client, output_, /*cluster=*/false), kExitOk);
  EXPECT_EQ(RunStatus(&client, output_, /*cluster=*/false), kExitOk);
}

TEST(RetryPolicy, AfterADoubtfulTryADefiniteRefusalOfTheRequestIsFinal) {
  RetryPolicy policy(CallKind::kWrite);
  EXPECT_EQ(policy.OnStatus(StatusCode::UNAVAILABLE), Verdict::kRetry);
  EXPECT_EQ(policy.OnStatus(StatusCode::FAILED_PRECONDITION), Verdict::kFailed);
}

// The first try was applied, and then its session expired.
TEST(RetryPolicy, AfterADoubtfulTryASessionThatForgotSettlesNothing) {
  for (const raftkv::Status& forgot :
       {store::ErrSessionUnknown(), store::ErrSessionSequenceStale()}) {
    RetryPolicy policy(CallKind::kWrite);
    EXPECT_EQ(policy.OnStatus(StatusCode::DEADLINE_EXCEEDED), Verdict::kRetry);
    EXPECT_EQ(policy.OnStatus(StatusCode::FAILED_PRECONDITION, forgot.message()),
              Verdict::kUnknown);
    RetryPolicy first(CallKind::kWrite);
    EXPECT_EQ(first.OnStatus(StatusCode::FAILED_PRECONDITION, forgot.message()), Verdict::kFailed);
  }
}

// What it deletes is counted anew for each try, before the session is asked.
TEST(RetryPolicy, AfterADoubtfulTryTooManyKeysSettleNothing) {
  const std::string refused = store::ErrTooManyDeletes(10, 100).message();
  RetryPolicy policy(CallKind::kWrite);
  EXPECT_EQ(policy.OnStatus(StatusCode::DEADLINE_EXCEEDED), Verdict::kRetry);
  EXPECT_EQ(policy.OnStatus(StatusCode::INVALID_ARGUMENT, refused), Verdict::kUnknown);
  RetryPolicy first(CallKind::kWrite);
  EXPECT_EQ(first.OnStatus(StatusCode::INVALID_ARGUMENT, refused), Verdict::kFailed);
}

TEST(RetryPolicy, WhatAnEndpointThatHangsMayUseUp) {
  RetryPolicy policy(CallKind::kWrite);
  const milliseconds total(4000);
  EXPECT_EQ(policy.AttemptTimeout(total, total, 1), total);
  EXPECT_EQ(policy.AttemptTimeout(total, total, 3), milliseconds(1000));
  EXPECT_EQ(policy.OnStatus(StatusCode::DEADLINE_EXCEEDED), Verdict::kRetry);
  EXPECT_EQ(policy.AttemptTimeout(total, milliseconds(3000), 3), milliseconds(1000));
  EXPECT_EQ(policy.OnStatus(StatusCode::DEADLINE_EXCEEDED), Verdict::kRetry);
  EXPECT_EQ(policy.AttemptTimeout(total, milliseconds(2000), 3), milliseconds(2000));
}

TEST(RetryPolicy, WaitsOnlyAfterARoundOverAllEndpoints) {
  RetryPolicy policy(CallKind::kRead);
  std::vector<int64_t> waits;
  for (int i = 0; i < 14; ++i) {
    EXPECT_EQ(policy.OnNotSent(), Verdict::kRetry);
    waits.push_back(policy.Backoff(2).count());
  }
  EXPECT_EQ(waits, (std::vector<int64_t>{0, 50, 0, 100, 0, 200, 0, 400, 0, 800, 0, 800, 0, 800}));
}

TEST(ParseEndpoints, TakesListsAndUrls) {
  EXPECT_EQ(ParseEndpoints("127.0.0.1:1,http://b:22/,[::1]:3").value(),
            (std::vector<std::string>{"127.0.0.1:1", "b:22", "[::1]:3"}));
  for (const char* bad :
       {"", "a", "a:", ":1", "a:0", "a:70000", "a:1,", "https://a:1", "a:1x", "a/b:1"}) {
    EXPECT_FALSE(ParseEndpoints(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace raftkv::tools::ctl
