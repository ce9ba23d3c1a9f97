// What the edge counts before it proposes a delete.
#include "store/delete_count.h"

#include <gtest/gtest.h>

#include "store/kv_errors.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::TxnRequest;

class DeleteCountTest : public testing::Test {
 protected:
  DeleteCountTest() {
    for (const char* key : {"a", "b", "c", "d", "e"}) node_.Put(key, "1");
    node_.Put("gone", "1");
    node_.Delete("gone");
  }

  template <typename Request>
  bool Refused(const Request& request, DeleteLimits limits = {.keys_max = 3}) {
    MvccView view = MvccView::ForAll(node_.engine().db(), node_.engine().kv());
    const Status status = CheckDeletes(&view, node_.store().revision(), request, limits);
    EXPECT_TRUE(status.ok() || status == ErrTooManyDeletes(limits.keys_max, limits.key_bytes_max))
        << status;
    return !status.ok();
  }
  static DeleteRangeRequest* AddTo(TxnRequest* txn, bool success, const std::string& key,
                                   const std::string& end) {
    auto* op = success ? txn->add_success() : txn->add_failure();
    *op->mutable_request_delete_range() = DeleteOf(key, end);
    return op->mutable_request_delete_range();
  }

  TestNode node_;
};

TEST_F(DeleteCountTest, CountsTheKeysThatAreThere) {
  EXPECT_FALSE(Refused(DeleteOf("a", "d")));
  EXPECT_TRUE(Refused(DeleteOf("a", "e")));
  EXPECT_FALSE(Refused(DeleteOf("c", std::string(1, '\0')))) << "what is deleted does not count";
  EXPECT_FALSE(Refused(DeleteOf("x", "y")));
  EXPECT_FALSE(Refused(DeleteOf("a")));
}

TEST_F(DeleteCountTest, CountsTheirBytesToo) {
  node_.Put("long" + std::string(1000, 'k'), "1");
  EXPECT_FALSE(Refused(DeleteOf("long", "m"), {.key_bytes_max = 1004}));
  EXPECT_TRUE(Refused(DeleteOf("long", "m"), {.key_bytes_max = 1003}));
}

// However small each branch is, there is an end to the looking.
TEST_F(DeleteCountTest, ManyBranchesAreTooMuchToCount) {
  TxnRequest txn;
  TxnRequest* nested = &txn;
  for (int depth = 0; depth < 6; ++depth) {
    AddTo(nested, true, "a", "d");
    nested = nested->add_failure()->mutable_request_txn();
  }
  EXPECT_TRUE(Refused(txn));
  TxnRequest few;
  AddTo(&few, true, "a", "d");
  AddTo(few.add_failure()->mutable_request_txn(), true, "a", "d");
  EXPECT_FALSE(Refused(few));
}

TEST_F(DeleteCountTest, ATransactionTakesOneBranch) {
  TxnRequest txn;
  AddTo(&txn, true, "a", "d");
  AddTo(&txn, false, "c", "f");
  EXPECT_FALSE(Refused(txn));
  AddTo(&txn, false, "a", "b");
  EXPECT_TRUE(Refused(txn));
}

TEST_F(DeleteCountTest, NestedTransactionsCountWithTheOuterOne) {
  TxnRequest txn;
  AddTo(&txn, true, "a", "c");
  TxnRequest* inner = txn.add_success()->mutable_request_txn();
  AddTo(inner, false, "c", "d");
  AddTo(inner, true, "d", "e");
  EXPECT_FALSE(Refused(txn));
  AddTo(&txn, true, "e", "f");
  EXPECT_TRUE(Refused(txn));
}

TEST_F(DeleteCountTest, SingleKeysAreNotCounted) {
  EXPECT_FALSE(DeletesRanges(DeleteOf("a")));
  EXPECT_TRUE(DeletesRanges(DeleteOf("a", "b")));
  TxnRequest txn;
  AddTo(&txn, true, "a", "");
  EXPECT_FALSE(DeletesRanges(txn));
  AddTo(txn.add_failure()->mutable_request_txn(), true, "a", "b");
  EXPECT_TRUE(DeletesRanges(txn));
}

TEST_F(DeleteCountTest, TheErrorSaysWhatToDo) {
  EXPECT_EQ(node_.store().CheckDeletes(DeleteOf("a", "z")), Status::Ok());
  const DeleteLimits limits;
  EXPECT_EQ(ErrTooManyDeletes(limits.keys_max, limits.key_bytes_max).ToString(),
            "invalid_argument: raftkv: this would delete more than 1000000 keys (or 100000000 "
            "bytes of keys) at once; delete in smaller ranges");
}

}  // namespace
}  // namespace raftkv::store
