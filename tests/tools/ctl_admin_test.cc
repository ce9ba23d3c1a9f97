// The operator's subcommands against a cluster's services faked in this process.
#include <map>
#include <mutex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rpc.grpc.pb.h"
#include "tools/ctl/maintenance_commands.h"
#include "tools/ctl/member_commands.h"
#include "tools/fake_service.h"

namespace raftkv::tools::ctl {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

// A cluster behind one address: it keeps a member list and changes it as etcd does.
class FakeCluster : public etcdserverpb::Cluster::Service,
                    public etcdserverpb::Maintenance::Service {
 public:
  FakeCluster() {
    Add(0xa1, "n1", "http://127.0.0.1:1", false);
    Add(0xa2, "n2", "http://127.0.0.1:2", false);
  }
  ~FakeCluster() override { server_.Stop(); }

  void Add(uint64_t id, const std::string& name, const std::string& url, bool learner) {
    etcdserverpb::Member& member = members_[id];
    member.set_id(id);
    member.set_name(name);
    member.add_peerurls(url);
    member.set_islearner(learner);
  }

  grpc::Status MemberList(grpc::ServerContext*, const etcdserverpb::MemberListRequest*,
                          etcdserverpb::MemberListResponse* response) override {
    std::lock_guard lock(mutex_);
    return Fill(response);
  }
  grpc::Status MemberAdd(grpc::ServerContext*, const etcdserverpb::MemberAddRequest* request,
                         etcdserverpb::MemberAddResponse* response) override {
    std::lock_guard lock(mutex_);
    calls.push_back("add");
    if (!refusal.ok()) return refusal;
    Add(0xb1, "", request->peerurls(0), request->islearner());
    *response->mutable_member() = members_[0xb1];
    Fill(response);
    return lose_answers ? grpc::Status(StatusCode::UNAVAILABLE, "lost") : grpc::Status::OK;
  }
  grpc::Status MemberPromote(grpc::ServerContext*,
                             const etcdserverpb::MemberPromoteRequest* request,
                             etcdserverpb::MemberPromoteResponse* response) override {
    std::lock_guard lock(mutex_);
    calls.push_back("promote");
    if (not_in_sync > 0) {
      --not_in_sync;
      return {StatusCode::FAILED_PRECONDITION,
              "etcdserver: can only promote a learner member which is in sync with leader"};
    }
    members_[request->id()].set_islearner(false);
    Fill(response);
    return lose_answers ? grpc::Status(StatusCode::UNAVAILABLE, "lost") : grpc::Status::OK;
  }
  grpc::Status MemberRemove(grpc::ServerContext*, const etcdserverpb::MemberRemoveRequest* request,
                            etcdserverpb::MemberRemoveResponse* response) override {
    std::lock_guard lock(mutex_);
    calls.push_back("remove");
    if (!refusal.ok()) return refusal;
    if (members_.erase(request->id()) == 0) {
      return {StatusCode::NOT_FOUND, "etcdserver: member not found"};
    }
    Fill(response);
    return lose_answers ? grpc::Status(StatusCode::UNAVAILABLE, "lost") : grpc::Status::OK;
  }

  grpc::Status Alarm(grpc::ServerContext*, const etcdserverpb::AlarmRequest* request,
                     etcdserverpb::AlarmResponse* response) override {
    std::lock_guard lock(mutex_);
    if (request->action() == etcdserverpb::AlarmRequest::DEACTIVATE) {
      alarms.erase(request->memberid());
      return grpc::Status::OK;
    }
    for (const auto& [id, type] : alarms) {
      auto* alarm = response->add_alarms();
      alarm->set_memberid(id);
      alarm->set_alarm(type);
    }
    return grpc::Status::OK;
  }
  grpc::Status Status(grpc::ServerContext*, const etcdserverpb::StatusRequest*,
                      etcdserverpb::StatusResponse* response) override {
    response->mutable_header()->set_revision(revision);
    return grpc::Status::OK;
  }
  grpc::Status HashKV(grpc::ServerContext*, const etcdserverpb::HashKVRequest* request,
                      etcdserverpb::HashKVResponse* response) override {
    asked_revision = request->revision();
    response->set_hash(hash);
    return grpc::Status::OK;
  }

  const std::string& endpoint() const { return server_.endpoint(); }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& [id, member] : members_) {
      names.push_back(std::to_string(id) + (member.islearner() ? " learner" : ""));
    }
    return names;
  }

  int not_in_sync = 0;        // so many promotions are refused
  bool lose_answers = false;  // changes happen, and fail all the same
  grpc::Status refusal;       // of additions and removals
  std::map<uint64_t, etcdserverpb::AlarmType> alarms;
  int64_t revision = 9;
  uint32_t hash = 1;
  int64_t asked_revision = 0;
  std::vector<std::string> calls;

 private:
  template <typename Response>
  grpc::Status Fill(Response* response) {
    response->mutable_header()->set_cluster_id(0xc1);
    for (const auto& [id, member] : members_) *response->add_members() = member;
    return grpc::Status::OK;
  }

  std::mutex mutex_;
  std::map<uint64_t, etcdserverpb::Member> members_;
  FakeServer server_{static_cast<etcdserverpb::Cluster::Service*>(this),
                     static_cast<etcdserverpb::Maintenance::Service*>(this)};
};

class CtlAdminTest : public testing::Test {
 protected:
  Client NewClient(std::vector<std::string> endpoints) {
    ClientOptions options;
    options.endpoints = std::move(endpoints);
    return Client(options, &clock_);
  }
  int Replace(milliseconds timeout = milliseconds(60'000)) {
    Client client = NewClient({cluster_.endpoint()});
    return RunMemberReplace(&client, output_, 0xa2, {"n3", {"http://127.0.0.1:3"}, true}, timeout);
  }

  SkippingClock clock_;
  FakeCluster cluster_;
  std::unique_ptr<Printer> printer_ = NewSimplePrinter({});
  std::ostringstream out_;
  std::ostringstream err_;
  const Output output_{printer_.get(), &out_, &err_};
};

TEST_F(CtlAdminTest, AddSaysHowToStartTheNewMember) {
  Client client = NewClient({cluster_.endpoint()});
  EXPECT_EQ(RunMemberAdd(&client, output_, {"n3", {"http://127.0.0.1:3"}, false}), kExitOk);
  EXPECT_EQ(out_.str(),
            "Member b1 added to cluster c1\n\nStart it, with an empty data directory:\n"
            "  raftkvd \\\n    --name=n3 \\\n"
            "    --initial-advertise-peer-urls=http://127.0.0.1:3 \\\n"
            "    --initial-cluster=n1=http://127.0.0.1:1,n2=http://127.0.0.1:2,"
            "n3=http://127.0.0.1:3 \\\n"
            "    --initial-cluster-state=existing\n");
}

TEST_F(CtlAdminTest, AnAdditionIsSentOnlyOnce) {
  cluster_.lose_answers = true;
  Client client = NewClient({cluster_.endpoint()});
  EXPECT_EQ(RunMemberAdd(&client, output_, {"n3", {"http://127.0.0.1:3"}, false}), kExitUnknown);
  EXPECT_THAT(cluster_.calls, ElementsAre("add"));
  EXPECT_THAT(err_.str(), HasSubstr("see 'raftkvctl member list'"));
}

TEST_F(CtlAdminTest, ARefusalThatDidNothingIsAFailureAndNotADoubt) {
  cluster_.refusal = {StatusCode::UNAVAILABLE, "etcdserver: unhealthy cluster"};
  Client client = NewClient({cluster_.endpoint()});
  EXPECT_EQ(RunMemberAdd(&client, output_, {"n3", {"http://127.0.0.1:3"}, false}), kExitFailed);
  EXPECT_EQ(err_.str(), "raftkvctl: member add: etcdserver: unhealthy cluster\n");
}

TEST_F(CtlAdminTest, AChangeGoesToAnEndpointThatCanBeReached) {
  const std::string dead = [] { return FakeCluster().endpoint(); }();
  Client client = NewClient({dead, cluster_.endpoint()});
  EXPECT_EQ(RunMemberRemove(&client, output_, 0xa2), kExitOk);
  EXPECT_EQ(out_.str(), "Member a2 removed from cluster c1\n");
}

TEST_F(CtlAdminTest, ReplaceWaitsUntilTheNewMemberIsInSync) {
  cluster_.not_in_sync = 3;
  EXPECT_EQ(Replace(), kExitOk) << err_.str();
  EXPECT_THAT(cluster_.calls,
              ElementsAre("add", "promote", "promote", "promote", "promote", "remove"));
  EXPECT_THAT(cluster_.Names(), ElementsAre("161", "177"));
  EXPECT_THAT(err_.str(), HasSubstr("--initial-cluster-state=existing"));
}

TEST_F(CtlAdminTest, ReplaceThatTimesOutTouchesNothingElseAndGoesOnWhenRunAgain) {
  cluster_.not_in_sync = 1000;
  EXPECT_EQ(Replace(milliseconds(5000)), kExitFailed);
  EXPECT_THAT(cluster_.Names(), ElementsAre("161", "162", "177 learner"));
  cluster_.not_in_sync = 0;
  cluster_.calls.clear();
  EXPECT_EQ(Replace(), kExitOk) << err_.str();
  EXPECT_THAT(cluster_.calls, ElementsAre("promote", "remove"));
  cluster_.calls.clear();
  EXPECT_EQ(Replace(), kExitOk) << err_.str();  // everything is done already
  EXPECT_THAT(cluster_.calls, ElementsAre());
  EXPECT_THAT(cluster_.Names(), ElementsAre("161", "177"));
}

TEST_F(CtlAdminTest, ReplaceFindsOutWhatBecameOfAStepWhoseAnswerWasLost) {
  cluster_.lose_answers = true;
  EXPECT_EQ(Replace(), kExitOk) << err_.str();
  EXPECT_THAT(cluster_.calls, ElementsAre("add", "promote", "remove"));
  EXPECT_THAT(cluster_.Names(), ElementsAre("161", "177"));
}

TEST_F(CtlAdminTest, ReplaceOfAMemberThatIsNotThereAddsNothing) {
  Client client = NewClient({cluster_.endpoint()});
  EXPECT_EQ(RunMemberReplace(&client, output_, 0xff, {"n3", {"http://127.0.0.1:3"}, true},
                             milliseconds(1000)),
            kExitFailed);
  EXPECT_THAT(cluster_.calls, ElementsAre());
  EXPECT_THAT(err_.str(), HasSubstr("there is no member ff"));
}

TEST_F(CtlAdminTest, DisarmTakesBackEveryAlarm) {
  cluster_.alarms = {{0xa1, etcdserverpb::NOSPACE}, {0xa2, etcdserverpb::CORRUPT}};
  Client client = NewClient({cluster_.endpoint()});
  EXPECT_EQ(RunAlarmList(&client, output_), kExitOk);
  EXPECT_EQ(out_.str(), "memberID:a1 alarm:NOSPACE\nmemberID:a2 alarm:CORRUPT\n");
  EXPECT_EQ(RunAlarmDisarm(&client, output_), kExitOk);
  EXPECT_TRUE(cluster_.alarms.empty());
}

TEST_F(CtlAdminTest, HashKvComparesAtARevisionThatAllHave) {
  FakeCluster other;
  other.revision = 7;
  Client client = NewClient({cluster_.endpoint(), other.endpoint()});
  EXPECT_EQ(RunHashKv(&client, output_, false, 0), kExitOk) << err_.str();
  EXPECT_EQ(cluster_.asked_revision, 7);
  other.hash = 2;
  EXPECT_EQ(RunHashKv(&client, output_, false, 6), kExitFailed);
  EXPECT_EQ(cluster_.asked_revision, 6);
  EXPECT_THAT(err_.str(), HasSubstr(other.endpoint() + " differs from " + cluster_.endpoint()));
}

TEST(PeerUrls, AreCheckedAndMadeCanonical) {
  EXPECT_THAT(ParsePeerUrls("http://a:1/,http://b:2").value(),
              ElementsAre("http://a:1", "http://b:2"));
  EXPECT_FALSE(ParsePeerUrls("").ok());
  EXPECT_FALSE(ParsePeerUrls("a:1").ok());
}

}  // namespace
}  // namespace raftkv::tools::ctl
