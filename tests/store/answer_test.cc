// What answers hold, for whom those to writes are built, and what becomes of those that are too
// large.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/answer_room.h"
#include "store/kv_errors.h"
#include "store/mvcc.h"
#include "store/session_answer.h"
#include "store/session_table.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using testing::HasSubstr;

constexpr size_t kMiB = 1 << 20;
constexpr int kTooMany = 66;  // values of 1 MiB: more than an answer holds

// "k/00", "k/01"...: `count` keys.
void Fill(TestNode* node, int count, size_t value_bytes = kMiB) {
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    node->Put("k/" + std::string(2 - number.size(), '0') + number, std::string(value_bytes, 'v'));
  }
}

RangeRequest AllOfThem() {
  RangeRequest request;
  request.set_key("k/");
  request.set_range_end("k0");
  return request;
}

// Reads `range`, then puts "done".
TxnRequest ReadAndPut(const RangeRequest& range) {
  TxnRequest txn;
  *txn.add_success()->mutable_request_range() = range;
  *txn.add_success()->mutable_request_put() = PutOf("done", "1");
  return txn;
}

int64_t CountOf(TestNode* node, const std::string& key, const std::string& end = "") {
  return node->GetRange(key, end)->count();
}

const etcdserverpb::RangeResponse& RangeIn(const ApplyResult& result) {
  return std::get<TxnResponse>(result.response).responses(0).response_range();
}

// The answer to the node's last write, which changed something.
void ExpectGivenUp(const ApplyResult& result, TestNode* node) {
  const int64_t revision = node->store().revision();
  EXPECT_EQ(result.status, ErrAnswerTooLarge(revision));
  EXPECT_EQ(result.given_up_at, revision);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(result.response));
}

TEST(Unawaited, AnswersLackWhatWouldHaveToBeRead) {
  TestNode node;
  Fill(&node, 3, 1);
  const auto apply = [&node](CommandType type, const google::protobuf::MessageLite& request) {
    ApplyResult result = node.Apply(type, request, {}, 0, /*awaited=*/false);
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result;
  };
  ApplyResult result = apply(CommandType::kTxn, ReadAndPut(AllOfThem()));
  EXPECT_EQ(RangeIn(result).count(), 0);
  EXPECT_EQ(CountOf(&node, "done"), 1);
  auto put = PutOf("k/00", "2");
  put.set_prev_kv(true);
  result = apply(CommandType::kPut, put);
  EXPECT_FALSE(std::get<PutResponse>(result.response).has_prev_kv());
  auto removal = DeleteOf("k/", "k0");
  removal.set_prev_kv(true);
  result = apply(CommandType::kDeleteRange, removal);
  EXPECT_EQ(std::get<DeleteRangeResponse>(result.response).deleted(), 3);
  EXPECT_EQ(std::get<DeleteRangeResponse>(result.response).prev_kvs_size(), 0);
  EXPECT_EQ(CountOf(&node, "k/", "k0"), 0);
}

TEST(Unawaited, AValueThatIsKeptIsReadAllTheSame) {
  TestNode node;
  node.Put("a", "kept");
  auto put = PutOf("a", "");
  put.set_ignore_value(true);
  EXPECT_TRUE(node.Apply(CommandType::kPut, put, {}, 0, /*awaited=*/false).status.ok());
  EXPECT_EQ(node.Get("a")->kvs(0).value(), "kept");
  EXPECT_EQ(node.Get("a")->kvs(0).version(), 2);
}

TEST(Unawaited, TheStatusIsTheSame) {
  TestNode node;
  Fill(&node, 3, 1);
  node.Compact(3);
  for (const bool awaited : {true, false}) {
    RangeRequest range = AllOfThem();
    range.set_revision(node.store().revision() + 1);
    EXPECT_EQ(node.Apply(CommandType::kTxn, ReadAndPut(range), {}, 0, awaited).status,
              ErrFutureRevision());
    range.set_revision(2);
    EXPECT_EQ(node.Apply(CommandType::kTxn, ReadAndPut(range), {}, 0, awaited).status,
              ErrCompacted());
  }
  EXPECT_EQ(CountOf(&node, "done"), 0);
}

TEST(TooLarge, ATransactionIsAppliedAndItsAnswerGivenUp) {
  TestNode node;
  Fill(&node, kTooMany);
  const int64_t revision = node.store().revision() + 1;
  ExpectGivenUp(node.Apply(CommandType::kTxn, ReadAndPut(AllOfThem())), &node);
  EXPECT_EQ(CountOf(&node, "done"), 1);
  EXPECT_EQ(node.store().revision(), revision);

  // The same after a crash, where nobody waits.
  node.Crash();
  node.Replay();
  EXPECT_EQ(CountOf(&node, "done"), 1);
  EXPECT_EQ(node.store().revision(), revision);
}

TEST(TooLarge, WhatFitsIsAnswered) {
  TestNode node;
  Fill(&node, kTooMany - 4);
  const ApplyResult result = node.Apply(CommandType::kTxn, ReadAndPut(AllOfThem()));
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(RangeIn(result).kvs_size(), kTooMany - 4);
}

TEST(TooLarge, TheBoundIsForTheWholeTransaction) {
  TestNode node;
  Fill(&node, kTooMany / 2);
  TxnRequest inner = ReadAndPut(AllOfThem());
  TxnRequest txn;
  *txn.add_success()->mutable_request_range() = AllOfThem();
  *txn.add_success()->mutable_request_txn() = inner;
  auto* put = txn.add_success()->mutable_request_put();
  *put = PutOf("k/00", "");
  put->set_ignore_value(true);
  auto* removal = txn.add_success()->mutable_request_delete_range();
  *removal = DeleteOf("k/01", "k/03");
  removal->set_prev_kv(true);
  *txn.add_success()->mutable_request_range() = AllOfThem();
  ExpectGivenUp(node.Apply(CommandType::kTxn, txn), &node);
  // All of it was done, also what came after that.
  EXPECT_EQ(CountOf(&node, "done"), 1);
  EXPECT_EQ(CountOf(&node, "k/", "k0"), kTooMany / 2 - 2);
  EXPECT_EQ(node.Get("k/00")->kvs(0).value().size(), kMiB);
  EXPECT_EQ(node.Get("k/00")->kvs(0).version(), 2);
}

TEST(TooLarge, PreviousValuesCountAsWell) {
  TestNode node;
  Fill(&node, kTooMany);
  TxnRequest txn;
  for (int i = 0; i < kTooMany; ++i) {
    auto* put = txn.add_success()->mutable_request_put();
    *put = PutOf("k/" + std::string(i < 10 ? "0" : "") + std::to_string(i), "2");
    put->set_prev_kv(true);
  }
  ExpectGivenUp(node.Apply(CommandType::kTxn, txn), &node);
  EXPECT_EQ(node.Get("k/65")->kvs(0).value(), "2");

  TestNode other;
  Fill(&other, kTooMany);
  auto removal = DeleteOf("k/", "k0");
  removal.set_prev_kv(true);
  ExpectGivenUp(other.Apply(CommandType::kDeleteRange, removal), &other);
  EXPECT_EQ(CountOf(&other, "k/", "k0"), 0);
}

TEST(TooLarge, SortingDropsWhatIsBehindTheLimit) {
  TestNode node;
  Fill(&node, kTooMany);
  RangeRequest range = AllOfThem();
  range.set_sort_target(RangeRequest::MOD);
  range.set_sort_order(RangeRequest::DESCEND);
  range.set_limit(2);
  const ApplyResult result = node.Apply(CommandType::kTxn, ReadAndPut(range));
  ASSERT_TRUE(result.status.ok()) << result.status;
  ASSERT_EQ(RangeIn(result).kvs_size(), 2);
  EXPECT_EQ(RangeIn(result).kvs(0).key(), "k/65");
  EXPECT_EQ(RangeIn(result).kvs(1).key(), "k/64");
  EXPECT_EQ(RangeIn(result).count(), kTooMany);
  EXPECT_TRUE(RangeIn(result).more());
}

TEST(TooLarge, TheErrorSaysThatTheWriteWasApplied) {
  const Status status = ErrAnswerTooLarge(7);
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("the write was applied once, at revision 7;"));
  EXPECT_THAT(status.message(), HasSubstr("too large to be given: read in parts, with a limit"));
  EXPECT_TRUE(SaysApplied(status));
  EXPECT_TRUE(SaysApplied(ErrSessionAnswerTooLarge(7)));
  EXPECT_FALSE(SaysApplied(Status::Ok()));
  EXPECT_FALSE(SaysApplied(ErrTooManyRequests()));
}

// What a session keeps is replicated: it must not depend on who waits for the answer.
TEST(TooLarge, AReadIsRefused) {
  TestNode node;
  Fill(&node, 10);
  EXPECT_EQ(node.store().Range(AllOfThem(), 9 * kMiB).status(), ErrReadTooLarge(9 * kMiB));
  EXPECT_EQ(node.store().Range(AllOfThem(), 11 * kMiB)->kvs_size(), 10);
  RangeRequest few = AllOfThem();
  few.set_limit(8);
  EXPECT_EQ(node.store().Range(few, 9 * kMiB)->count(), 10) << "with a limit it is read in parts";
  RangeRequest counted = AllOfThem();
  counted.set_count_only(true);
  EXPECT_EQ(node.store().Range(counted, 1)->count(), 10);
}

TEST(TooLarge, SoIsATransactionThatReads) {
  TestNode node;
  Fill(&node, 10);
  TxnRequest txn;
  for (int i = 0; i < 2; ++i) *txn.add_success()->mutable_request_range() = AllOfThem();
  EXPECT_EQ(node.store().ReadOnlyTxn(txn, 15 * kMiB).status(), ErrReadTooLarge(15 * kMiB));
  EXPECT_EQ(node.store().ReadOnlyTxn(txn, 21 * kMiB)->responses_size(), 2);
}

TEST(SessionAnswers, AreTheSameWithAndWithoutAWaiter) {
  TestNode waiting;
  TestNode follower;
  const auto apply = [&](const std::string& client, const google::protobuf::MessageLite& request) {
    const SessionRef session{client, 1};
    ApplyResult result = waiting.Apply(CommandType::kTxn, request, session);
    follower.Apply(CommandType::kTxn, request, session, 0, /*awaited=*/false);
    return result;
  };
  for (TestNode* node : {&waiting, &follower}) Fill(node, kTooMany);
  RangeRequest range = AllOfThem();
  range.set_keys_only(true);
  EXPECT_EQ(RangeIn(apply("keys", ReadAndPut(range))).kvs_size(), kTooMany);
  range = AllOfThem();
  range.set_limit(1);
  EXPECT_EQ(RangeIn(apply("one", ReadAndPut(range))).kvs_size(), 1);
  ExpectGivenUp(apply("all", ReadAndPut(AllOfThem())), &waiting);
  // Nothing of it would be left after sorting; but it was gathered.
  range = AllOfThem();
  range.set_keys_only(true);
  range.set_sort_target(RangeRequest::VALUE);
  ExpectGivenUp(apply("sorted", ReadAndPut(range)), &waiting);
  EXPECT_EQ(waiting.LogicalContent(), follower.LogicalContent());

  // A repetition gets what fitted, and of the others the revision.
  const int64_t revision = waiting.store().revision();
  for (const bool awaited : {true, false}) {
    const auto again = [&](const std::string& client) {
      return waiting.Apply(CommandType::kTxn, ReadAndPut(AllOfThem()), {client, 1}, 0, awaited);
    };
    EXPECT_EQ(RangeIn(again("keys")).kvs_size(), kTooMany);
    EXPECT_EQ(again("one").status, ErrSessionAnswerTooLarge(revision - 2));
    EXPECT_EQ(again("all").status, ErrSessionAnswerTooLarge(revision - 1));
    EXPECT_EQ(again("sorted").status, ErrSessionAnswerTooLarge(revision));
    EXPECT_TRUE(again("all").from_session);
  }
  EXPECT_EQ(waiting.store().revision(), revision);
}

// An answer given up leaves the record that it leaves when it is built and found too large.
TEST(SessionAnswers, OneGivenUpIsKeptAsOneTooLarge) {
  ApplyResult built;
  auto& response = built.response.emplace<PutResponse>();
  response.mutable_header()->set_revision(300);
  response.mutable_prev_kv()->set_value(std::string(kSessionAnswerBytesMax, 'v'));
  ApplyResult given_up;
  given_up.status = ErrAnswerTooLarge(300);
  given_up.given_up_at = 300;
  EXPECT_EQ(EncodeSessionRecord("s", ToSessionRecord(given_up)),
            EncodeSessionRecord("s", ToSessionRecord(built)));
}

TEST(Batches, EndWhereAnswersOrChangesTakeMuchMemory) {
  TestNode node;
  Fill(&node, 40);
  std::vector<Entry> entries;
  const auto add = [&](CommandType type, const google::protobuf::MessageLite& request) {
    entries.push_back(MakeEntry(Index(node.last_index() + entries.size() + 1), type, request));
  };
  for (int i = 0; i < 5; ++i) add(CommandType::kTxn, ReadAndPut(AllOfThem()));
  std::vector<ApplyResult> results(entries.size());
  std::vector<bool> awaited(entries.size(), true);
  EXPECT_EQ(node.store().ApplySome(entries, 0, awaited, &results), 2u);
  EXPECT_EQ(node.store().revision(), 43);
  EXPECT_EQ(RangeIn(results[1]).kvs_size(), 40);
  awaited.assign(entries.size(), false);
  EXPECT_EQ(node.store().ApplySome(entries, 2, awaited, &results), 5u);
  EXPECT_EQ(node.store().revision(), 46);
}

}  // namespace
}  // namespace raftkv::store
