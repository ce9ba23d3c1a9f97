// The command codec, etcd's error texts, and what the edge refuses.
#include "store/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/kv_errors.h"
#include "store/store_harness.h"
#include "store/validate.h"

namespace raftkv::store {
namespace {

TEST(Command, RoundTripsWithAndWithoutASession) {
  for (const SessionRef& session :
       {SessionRef{}, SessionRef{"c", 1}, SessionRef{std::string(128, '\xff'), UINT64_MAX}}) {
    std::string payload = EncodeCommand(CommandType::kTxn, 77, session, "body");
    EXPECT_EQ(CommandRequestId(payload), 77u);
    StampCommandTime(&payload, 1234567890123);
    const auto command = DecodeCommand(payload);
    ASSERT_TRUE(command.ok()) << command.status();
    EXPECT_EQ(command->type, CommandType::kTxn);
    EXPECT_EQ(command->request_id, 77u);
    EXPECT_EQ(command->time_ms, 1234567890123u);
    EXPECT_EQ(command->session, session);
    EXPECT_EQ(command->body, "body");
  }
}

TEST(Command, LayoutIsAsDocumented) {
  std::string payload = EncodeCommand(CommandType::kPut, 0x0102030405060708, {"id", 300}, "B");
  StampCommandTime(&payload, 0x1112131415161718);
  EXPECT_EQ(payload, std::string("\x01\x01"
                                 "\x08\x07\x06\x05\x04\x03\x02\x01"
                                 "\x18\x17\x16\x15\x14\x13\x12\x11"
                                 "\x01\x02id\xac\x02"
                                 "B"));
}

TEST(Command, RefusesWhatItDoesNotKnow) {
  const std::string good = EncodeCommand(CommandType::kPut, 1, {"c", 1}, "");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(DecodeCommand(good.substr(0, size)).status().code(), Code::kCorruption) << size;
  }
  auto with = [&good](size_t at, char byte) {
    std::string bad = good;
    bad[at] = byte;
    return DecodeCommand(bad).status().code();
  };
  EXPECT_EQ(with(0, 2), Code::kCorruption);  // version
  EXPECT_EQ(with(1, 0), Code::kCorruption);  // type
  EXPECT_EQ(with(1, 8), Code::kCorruption);
  EXPECT_EQ(with(18, 2), Code::kCorruption);  // flags
  EXPECT_EQ(with(19, 0), Code::kCorruption);  // empty client
  EXPECT_EQ(with(21, 0), Code::kCorruption);  // sequence 0
  EXPECT_EQ(CommandRequestId("short"), 0u);
}

TEST(Command, SessionLimits) {
  for (const SessionLimits& limits :
       {SessionLimits(), SessionLimits{0, 0}, SessionLimits{UINT64_MAX, UINT64_MAX}}) {
    const std::string body = EncodeSessionLimits(limits);
    const std::string payload = EncodeCommand(CommandType::kSessionLimits, 1, {}, body);
    EXPECT_EQ(DecodeSessionLimits(DecodeCommand(payload)->body).value(), limits);
    EXPECT_TRUE(ValidateCommand(payload).ok());
    for (const std::string& bad : {body + "x", body.substr(0, body.size() - 1), std::string()}) {
      EXPECT_EQ(DecodeSessionLimits(bad).status().code(), Code::kCorruption);
      EXPECT_EQ(ValidateCommand(EncodeCommand(CommandType::kSessionLimits, 1, {}, bad)).code(),
                Code::kCorruption);
    }
  }
  EXPECT_EQ(EncodeSessionLimits({300, 5}), std::string("\xac\x02\x05"));
}

TEST(Command, SessionsAreValidatedBeforeTheyAreEncoded) {
  EXPECT_TRUE(ValidateSession({}).ok());
  EXPECT_TRUE(ValidateSession({"c", 1}).ok());
  EXPECT_EQ(ValidateSession({"c", 0}).code(), Code::kInvalidArgument);
  EXPECT_EQ(ValidateSession({std::string(129, 'c'), 1}).code(), Code::kInvalidArgument);
}

TEST(Errors, TextsAndCodesAreThoseOfEtcd) {
  const std::pair<Status, Status> expected[] = {
      {ErrEmptyKey(), {Code::kInvalidArgument, "etcdserver: key is not provided"}},
      {ErrKeyNotFound(), {Code::kInvalidArgument, "etcdserver: key not found"}},
      {ErrValueProvided(), {Code::kInvalidArgument, "etcdserver: value is provided"}},
      {ErrLeaseProvided(), {Code::kInvalidArgument, "etcdserver: lease is provided"}},
      {ErrTooManyOps(), {Code::kInvalidArgument, "etcdserver: too many operations in txn request"}},
      {ErrDuplicateKey(),
       {Code::kInvalidArgument, "etcdserver: duplicate key given in txn request"}},
      {ErrInvalidSortOption(), {Code::kInvalidArgument, "etcdserver: invalid sort option"}},
      {ErrInvalidClientApiVersion(),
       {Code::kInvalidArgument, "etcdserver: invalid client api version"}},
      {ErrCompacted(),
       {Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"}},
      {ErrFutureRevision(),
       {Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"}},
      {ErrLeaseNotFound(), {Code::kNotFound, "etcdserver: requested lease not found"}},
      {ErrRequestTooLarge(), {Code::kInvalidArgument, "etcdserver: request is too large"}},
      {ErrTooManyRequests(), {Code::kResourceExhausted, "etcdserver: too many requests"}},
      {ErrNoLeader(), {Code::kUnavailable, "etcdserver: no leader"}},
      {ErrNotLeader(), {Code::kFailedPrecondition, "etcdserver: not leader"}},
      {ErrTimeout(), {Code::kUnavailable, "etcdserver: request timed out"}},
      {ErrTimeoutLeaderFail(),
       {Code::kUnavailable,
        "etcdserver: request timed out, possibly due to previous leader failure"}},
      {ErrTimeoutConnectionLost(),
       {Code::kUnavailable, "etcdserver: request timed out, possibly due to connection lost"}},
      {ErrStopped(), {Code::kUnavailable, "etcdserver: server stopped"}},
      {ErrMemberNotFound(), {Code::kNotFound, "etcdserver: member not found"}},
      {ErrBadLeaderTransferee(), {Code::kFailedPrecondition, "etcdserver: bad leader transferee"}},
  };
  for (const auto& [actual, wanted] : expected) EXPECT_EQ(actual, wanted);
}

TEST(Validate, SortOptionsMustExist) {
  etcdserverpb::RangeRequest request;
  request.set_key("a");
  EXPECT_TRUE(Validate(request).ok());
  request.set_sort_order(static_cast<etcdserverpb::RangeRequest::SortOrder>(3));
  EXPECT_EQ(Validate(request), ErrInvalidSortOption());
  request.set_sort_order(etcdserverpb::RangeRequest::DESCEND);
  request.set_sort_target(static_cast<etcdserverpb::RangeRequest::SortTarget>(5));
  EXPECT_EQ(Validate(request), ErrInvalidSortOption());
  request.clear_key();
  EXPECT_EQ(Validate(request), ErrEmptyKey());
}

etcdserverpb::TxnRequest TxnOf(int compares, int successes, int failures) {
  etcdserverpb::TxnRequest request;
  for (int i = 0; i < compares; ++i) request.add_compare()->set_key("k");
  for (int i = 0; i < successes; ++i) {
    request.add_success()->mutable_request_range()->set_key("k");
  }
  for (int i = 0; i < failures; ++i) {
    request.add_failure()->mutable_request_put()->set_key("k" + std::to_string(i));
  }
  return request;
}

TEST(Validate, EachListOfATransactionIsBounded) {
  EXPECT_TRUE(Validate(TxnOf(128, 128, 128)).ok());
  EXPECT_EQ(Validate(TxnOf(129, 0, 0)), ErrTooManyOps());
  EXPECT_EQ(Validate(TxnOf(0, 129, 0)), ErrTooManyOps());
  EXPECT_EQ(Validate(TxnOf(0, 0, 129)), ErrTooManyOps());
  EXPECT_EQ(Validate(TxnOf(0, 3, 0), 2), ErrTooManyOps());
}

TEST(Validate, NestingSharesTheBudget) {
  etcdserverpb::TxnRequest outer = TxnOf(0, 99, 0);
  *outer.add_success()->mutable_request_txn() = TxnOf(0, 28, 0);
  EXPECT_TRUE(Validate(outer).ok());
  outer.mutable_success(99)->mutable_request_txn()->add_compare()->set_key("k");
  EXPECT_TRUE(Validate(outer).ok());  // the longest list counts
  *outer.mutable_success(99)->mutable_request_txn() = TxnOf(0, 29, 0);
  EXPECT_EQ(Validate(outer), ErrTooManyOps());
}

// The overlap check must not be quadratic in what a request of the allowed size can hold: here
// 60,000 ranges and 60,000 puts, of which each put would look at each range.
TEST(Validate, ManyRangesAreCheckedQuickly) {
  etcdserverpb::TxnRequest request;
  for (int i = 0; i < 40; ++i) {
    auto* middle = request.add_success()->mutable_request_txn();
    for (int j = 0; j < 40; ++j) {
      auto* ops = middle->add_success()->mutable_request_txn();
      for (int k = 0; k < 40; ++k) {
        const std::string key = std::to_string((i * 40 + j) * 40 + k);
        auto* range = ops->add_success()->mutable_request_delete_range();
        range->set_key("d" + key + "|a");
        range->set_range_end("d" + key + "|x");
        ops->add_failure()->mutable_request_put()->set_key("p" + key);
      }
    }
  }
  EXPECT_TRUE(Validate(request).ok());
  request.add_success()->mutable_request_put()->set_key("d59|y");
  EXPECT_TRUE(Validate(request).ok());
  request.mutable_success(40)->mutable_request_put()->set_key("d59|b");
  EXPECT_EQ(Validate(request), ErrDuplicateKey());
}

TEST(Validate, OverlapsOfMergedRanges) {
  struct Case {
    const char* put;
    bool overlaps;
  };
  // Deleted: [b, d), [c, e), [m, n), z.
  for (const Case& c : {Case{"a", false},
                        {"b", true},
                        {"c", true},
                        {"dz", true},
                        {"e", false},
                        {"lz", false},
                        {"m", true},
                        {"n", false},
                        {"z", true},
                        {"za", false}}) {
    auto request = Proto<etcdserverpb::TxnRequest>(R"(
      success { request_delete_range { key: "c" range_end: "e" } }
      success { request_txn { success { request_delete_range { key: "b" range_end: "d" } } } }
      success { request_txn { failure { request_delete_range { key: "m" range_end: "n" } } } }
      success { request_delete_range { key: "z" } }
      success { request_put { } })");
    request.mutable_success(4)->mutable_request_put()->set_key(c.put);
    EXPECT_EQ(Validate(request), c.overlaps ? ErrDuplicateKey() : Status::Ok()) << c.put;
  }
}

TEST(Validate, ReadOnlyAndSerializable) {
  const auto read = Proto<etcdserverpb::TxnRequest>(R"(
    compare { key: "a" }
    success { request_range { key: "a" serializable: true } }
    failure { request_txn { success { request_range { key: "a" serializable: true } } } })");
  EXPECT_TRUE(IsReadOnly(read));
  EXPECT_TRUE(IsSerializable(read));

  auto one_linearizable = read;
  one_linearizable.add_failure()->mutable_request_range()->set_key("b");
  EXPECT_TRUE(IsReadOnly(one_linearizable));
  EXPECT_FALSE(IsSerializable(one_linearizable));

  auto nested_write = read;
  nested_write.mutable_failure(0)->mutable_request_txn()->add_failure()->mutable_request_put();
  EXPECT_FALSE(IsReadOnly(nested_write));

  // Compares alone: nobody said that a stale answer will do.
  EXPECT_TRUE(IsReadOnly(Proto<etcdserverpb::TxnRequest>("compare { key: \"a\" }")));
  EXPECT_FALSE(IsSerializable(Proto<etcdserverpb::TxnRequest>("compare { key: \"a\" }")));
}

}  // namespace
}  // namespace raftkv::store
