// Answers that no checker of keys and values would mind.

#include "torture/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "rpc.grpc.pb.h"
#include "tools/fake_service.h"
#include "torture/workload.h"

namespace raftkv::torture {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

etcdserverpb::RangeResponse Keys(const std::vector<std::string>& keys) {
  etcdserverpb::RangeResponse response;
  for (const std::string& key : keys) response.add_kvs()->set_key(key);
  response.set_count(response.kvs_size());
  return response;
}

TEST(Answers, OfARange) {
  etcdserverpb::RangeRequest request;
  request.set_key("b");
  request.set_range_end("d");
  EXPECT_EQ(WrongWith(request, Keys({})), "");
  EXPECT_EQ(WrongWith(request, Keys({"b", "c", "cc"})), "");
  EXPECT_THAT(WrongWith(request, Keys({"a"})), HasSubstr("'a' was not asked for"));
  EXPECT_THAT(WrongWith(request, Keys({"d"})), HasSubstr("'d' was not asked for"));
  EXPECT_THAT(WrongWith(request, Keys({"c", "c"})), HasSubstr("comes twice"));
  EXPECT_THAT(WrongWith(request, Keys({"c", "b"})), HasSubstr("comes too late"));
  etcdserverpb::RangeResponse response = Keys({"b"});
  response.set_more(true);
  EXPECT_THAT(WrongWith(request, response), HasSubstr("more"));
  response = Keys({"b"});
  response.set_count(2);
  EXPECT_THAT(WrongWith(request, response), HasSubstr("counted as 2"));
}

TEST(Answers, OfOneKey) {
  etcdserverpb::RangeRequest request;
  request.set_key("b");
  EXPECT_EQ(WrongWith(request, Keys({})), "");
  EXPECT_EQ(WrongWith(request, Keys({"b"})), "");
  EXPECT_THAT(WrongWith(request, Keys({"c"})), HasSubstr("was not asked for"));
  EXPECT_THAT(WrongWith(request, Keys({"b", "b"})), HasSubstr("comes twice"));
  etcdserverpb::DeleteRangeResponse deleted;
  EXPECT_EQ(WrongWith(etcdserverpb::DeleteRangeRequest(), deleted), "");
  deleted.set_deleted(2);
  EXPECT_NE(WrongWith(etcdserverpb::DeleteRangeRequest(), deleted), "");
}

TEST(Answers, OfATransaction) {
  etcdserverpb::TxnRequest request;
  request.add_success()->mutable_request_put();
  request.add_failure()->mutable_request_range()->set_key("b");
  etcdserverpb::TxnResponse response;
  EXPECT_THAT(WrongWith(request, response), HasSubstr("1 operations have 0 answers"));
  *response.add_responses()->mutable_response_range() = Keys({"b"});
  EXPECT_EQ(WrongWith(request, response), "");
  *response.mutable_responses(0)->mutable_response_range() = Keys({"c"});
  EXPECT_THAT(WrongWith(request, response), HasSubstr("was not asked for"));
  response.set_succeeded(true);
  EXPECT_THAT(WrongWith(request, response), HasSubstr("answered as something else"));
  response.mutable_responses(0)->mutable_response_put();
  EXPECT_EQ(WrongWith(request, response), "");
}

// Says yes to everything, and that there is one key.
class Liar : public etcdserverpb::KV::Service {
 public:
  grpc::Status Range(grpc::ServerContext*, const etcdserverpb::RangeRequest*,
                     etcdserverpb::RangeResponse* response) override {
    *response = Keys({"another"});
    return grpc::Status::OK;
  }
};

TEST(Answers, AreLookedAtByEveryClient) {
  Liar liar;
  tools::ctl::FakeServer server{&liar};
  Options options;
  options.clients = 1;
  options.endpoints = {server.endpoint()};
  const std::string path = testing::TempDir() + "raftkv-answers-test.jsonl";
  auto recorder = Recorder::Make(path).value();
  Workload workload(options, options.endpoints, recorder.get());
  workload.Start();
  for (int i = 0; i < 3000 && recorder->malformed().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  workload.Stop();
  ASSERT_THAT(recorder->malformed(), testing::Not(IsEmpty()));
  EXPECT_THAT(recorder->malformed()[0], HasSubstr("key 'another' was not asked for"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace raftkv::torture
