// The apply thread: order, waiters, compaction while idle, and its end.
#include "store/apply_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include "store/store_harness.h"

namespace raftkv::store {
namespace {

// The next `count` puts of the log of `node`.
ApplyBatch Puts(TestNode* node, int count) {
  ApplyBatch batch;
  for (int i = 0; i < count; ++i) {
    node->Append(CommandType::kPut, PutOf("k" + std::to_string(i % 5), "v"));
    batch.entries.push_back(node->log().back());
  }
  return batch;
}

std::future<bool> Applied(ApplyLoop* loop, uint64_t index) {
  auto promise = std::make_shared<std::promise<bool>>();
  loop->WhenApplied(Index(index), [promise](bool applied) { promise->set_value(applied); });
  return promise->get_future();
}

std::future<bool> Compacted(ApplyLoop* loop, int64_t revision) {
  auto promise = std::make_shared<std::promise<bool>>();
  loop->WhenCompacted(revision, [promise](bool done) { promise->set_value(done); });
  return promise->get_future();
}

TEST(ApplyLoop, WaitersGetTheirEntrysResultInOrder) {
  TestNode node;
  std::mutex mutex;
  std::vector<int64_t> revisions;
  ApplyLoop loop(&node.store(), {}, nullptr);
  for (int b = 0; b < 20; ++b) {
    ApplyBatch batch = Puts(&node, 10);
    for (size_t i = 1; i < 10; i += 3) {
      batch.waiters.emplace_back(i, [&](ApplyResult&& result) {
        std::lock_guard lock(mutex);
        revisions.push_back(HeaderRevision(result));
      });
    }
    loop.Submit(std::move(batch));
  }
  ASSERT_TRUE(Applied(&loop, 200).get());
  std::lock_guard lock(mutex);
  ASSERT_EQ(revisions.size(), 60u);
  for (size_t i = 0; i < revisions.size(); ++i) {
    EXPECT_EQ(revisions[i], static_cast<int64_t>(2 + i / 3 * 10 + 1 + i % 3 * 3));
  }
}

// Whatever the bounds of a batch, everything is applied and every waiter is answered.
TEST(ApplyLoop, BatchesAreCutAtTheirBounds) {
  TestNode node;
  ApplyLoopOptions options;
  options.batch_entries_max = 7;
  std::vector<uint64_t> ends;
  std::atomic<int> answered = 0;
  {
    ApplyLoop loop(&node.store(), options,
                   [&](Index applied, uint64_t) { ends.push_back(applied.value()); });
    ApplyBatch batch = Puts(&node, 20);
    for (size_t i = 0; i < 20; ++i)
      batch.waiters.emplace_back(i, [&](ApplyResult&&) { ++answered; });
    loop.Submit(std::move(batch));
  }
  EXPECT_EQ(ends, (std::vector<uint64_t>{7, 14, 20}));
  EXPECT_EQ(answered, 20);
}

// Where answers take much memory, they are given before all that was pending is applied.
TEST(ApplyLoop, LargeAnswersAreGivenBatchByBatch) {
  TestNode node;
  node.Put("k", std::string(22 << 20, 'v'));
  std::vector<uint64_t> ends;
  std::vector<std::pair<size_t, size_t>> answers;  // batches before it, bytes
  {
    ApplyLoop loop(&node.store(), {},
                   [&](Index applied, uint64_t) { ends.push_back(applied.value()); });
    ApplyBatch batch;
    for (size_t i = 0; i < 5; ++i) {
      etcdserverpb::TxnRequest txn;
      txn.add_success()->mutable_request_range()->set_key("k");
      *txn.add_success()->mutable_request_put() = PutOf("a", "1");
      node.Append(CommandType::kTxn, txn);
      batch.entries.push_back(node.log().back());
      if (i == 1) continue;  // nobody waits for it
      batch.waiters.emplace_back(i, [&](ApplyResult&& result) {
        answers.emplace_back(ends.size(), std::get<etcdserverpb::TxnResponse>(result.response)
                                                  .responses(0)
                                                  .response_range()
                                                  .kvs(0)
                                                  .value()
                                                  .size() >>
                                              20);
      });
    }
    loop.Submit(std::move(batch));
  }
  EXPECT_EQ(ends, (std::vector<uint64_t>{5, 6}));
  EXPECT_EQ(answers, (std::vector<std::pair<size_t, size_t>>{{0, 22}, {0, 22}, {0, 22}, {1, 22}}));
}

TEST(ApplyLoop, WhenAppliedAnswersAtOnceIfItIs) {
  TestNode node;
  node.Put("a", "1");
  ApplyLoop loop(&node.store(), {}, nullptr);
  bool answered = false;
  const auto caller = std::this_thread::get_id();
  loop.WhenApplied(Index(1), [&](bool applied) {
    EXPECT_TRUE(applied);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    answered = true;
  });
  EXPECT_TRUE(answered);
}

TEST(ApplyLoop, WhenAppliedWaitsForTheIndexAndSeesItsEffect) {
  TestNode node;
  ApplyLoop loop(&node.store(), {}, nullptr);
  auto third = std::make_shared<std::promise<int64_t>>();
  loop.WhenApplied(Index(3), [&node, third](bool applied) {
    EXPECT_TRUE(applied);
    third->set_value(node.store().revision());
  });
  auto future = third->get_future();
  loop.Submit(Puts(&node, 2));
  ASSERT_TRUE(Applied(&loop, 2).get());
  EXPECT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  loop.Submit(Puts(&node, 5));
  EXPECT_GE(future.get(), 4);
}

TEST(ApplyLoop, CompactionRunsToItsEndWhileIdle) {
  TestNode node;
  ApplyLoopOptions options;
  options.compact_step_versions = 3;
  {
    ApplyLoop loop(&node.store(), options, nullptr);
    loop.Submit(Puts(&node, 100));
    auto first = Compacted(&loop, 51);
    etcdserverpb::CompactionRequest request;
    request.set_revision(101);
    node.Append(CommandType::kCompact, request);
    ApplyBatch batch;
    batch.entries.push_back(node.log().back());
    loop.Submit(std::move(batch));
    auto second = Compacted(&loop, 101);
    EXPECT_TRUE(first.get());
    EXPECT_TRUE(second.get());
    EXPECT_TRUE(Compacted(&loop, 101).get());
  }
  EXPECT_EQ(node.store().applied().compacted_to, 101);
  EXPECT_EQ(node.CountKind('d'), 5u);
}

TEST(ApplyLoop, WritesGoOnDuringACompaction) {
  TestNode node;
  ApplyLoopOptions options;
  options.compact_step_versions = 1;
  std::atomic<int64_t> compacted_at_write = -1;
  ApplyLoop loop(&node.store(), options, nullptr);

  ApplyBatch first = Puts(&node, 500);
  etcdserverpb::CompactionRequest request;
  request.set_revision(501);
  node.Append(CommandType::kCompact, request);
  first.entries.push_back(node.log().back());
  // Holds the apply thread until the write behind it is submitted.
  std::promise<void> submitted;
  first.waiters.emplace_back(500, [&](ApplyResult&&) { submitted.get_future().wait(); });
  loop.Submit(std::move(first));

  ApplyBatch second = Puts(&node, 1);
  second.waiters.emplace_back(
      0, [&](ApplyResult&&) { compacted_at_write = node.store().applied().compacted_to; });
  loop.Submit(std::move(second));
  submitted.set_value();
  EXPECT_TRUE(Compacted(&loop, 501).get());
  EXPECT_GE(compacted_at_write.load(), 0);
  EXPECT_LT(compacted_at_write.load(), 501) << "the write waited for the whole compaction";
}

TEST(ApplyLoop, StopAppliesWhatWasSubmittedAndFailsTheRest) {
  TestNode node;
  auto never = std::make_shared<std::promise<bool>>();
  auto loop = std::make_unique<ApplyLoop>(&node.store(), ApplyLoopOptions{}, nullptr);
  int answered = 0;
  for (int i = 0; i < 50; ++i) {
    ApplyBatch batch = Puts(&node, 10);
    batch.waiters.emplace_back(9, [&](ApplyResult&& result) {
      EXPECT_TRUE(result.status.ok());
      ++answered;
    });
    loop->Submit(std::move(batch));
  }
  auto reached = Applied(loop.get(), 500);
  auto missed = Applied(loop.get(), 501);
  auto uncompacted = Compacted(loop.get(), 3);
  loop->Stop();
  loop->Stop();
  EXPECT_EQ(answered, 50);
  EXPECT_TRUE(reached.get());
  EXPECT_FALSE(missed.get());
  EXPECT_FALSE(uncompacted.get());
  EXPECT_EQ(node.store().applied().position.index, Index(500));
  // After the end: what is applied is still known, the rest fails at once.
  EXPECT_TRUE(Applied(loop.get(), 500).get());
  EXPECT_FALSE(Applied(loop.get(), 501).get());
  EXPECT_FALSE(Compacted(loop.get(), 3).get());
}

TEST(ApplyLoop, AnUnfinishedCompactionDoesNotHoldUpTheEnd) {
  TestNode node;
  for (int i = 0; i < 1'000; ++i) node.Append(CommandType::kPut, PutOf("k", "v"));
  etcdserverpb::CompactionRequest request;
  request.set_revision(1'001);
  node.Append(CommandType::kCompact, request);
  node.ApplyPending();
  ApplyLoopOptions options;
  options.compact_step_versions = 1;
  auto loop = std::make_unique<ApplyLoop>(&node.store(), options, nullptr);
  auto waiter = Compacted(loop.get(), 1'001);
  loop->Stop();
  const bool compacted = waiter.get();
  EXPECT_EQ(compacted, node.store().applied().compacted_to == 1'001);
}

TEST(ApplyLoop, ReportsHowFarItGot) {
  TestNode node;
  std::atomic<uint64_t> last = 0;
  ApplyLoop loop(&node.store(), {}, [&](Index applied, uint64_t) { last = applied.value(); });
  auto batch = Puts(&node, 5);
  loop.Submit(std::move(batch));
  loop.Stop();
  EXPECT_EQ(last.load(), 5u);
  EXPECT_EQ(loop.queue_depth(), 0u);
}

}  // namespace
}  // namespace raftkv::store
