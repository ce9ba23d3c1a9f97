// Putting a snapshot in the place of the applied state, beside readers and the apply loop.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "store/apply_loop.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

// Every revision overwrites both keys with its own number, so that any mixture shows.
void Write(TestNode* node, int times) {
  for (int i = 0; i < times; ++i) {
    const std::string next = std::to_string(node->store().revision() + 1);
    etcdserverpb::TxnRequest request;
    for (const char* key : {"a", "b"}) {
      *request.add_success()->mutable_request_put() = PutOf(key, next);
    }
    node->Apply(CommandType::kTxn, request);
  }
}

TEST(SwitchTo, ReadersSeeTheOldStateOrTheNewOne) {
  TestNode ahead;
  TestNode node;
  Write(&node, 3);
  std::atomic<bool> stop = false;
  std::atomic<int> reads = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      int64_t last = 0;
      while (!stop) {
        const auto range = node.GetRange("a", "c");
        ASSERT_TRUE(range.ok()) << range.status().ToString();
        const int64_t revision = range->header().revision();
        ASSERT_GE(revision, last);
        last = revision;
        ASSERT_EQ(range->kvs_size(), 2);
        for (const auto& kv : range->kvs()) {
          ASSERT_EQ(kv.value(), std::to_string(revision));
          ASSERT_EQ(kv.mod_revision(), revision);
        }
        const auto one = node.Get("b");
        ASSERT_EQ(one->kvs(0).value(), std::to_string(one->header().revision()));
        ++reads;
      }
    });
  }
  for (int round = 0; round < 15; ++round) {
    while (ahead.store().revision() <= node.store().revision()) Write(&ahead, 20);
    Write(&ahead, 5);
    ahead.Compact(ahead.store().revision());
    ahead.CompactAll();
    const uint64_t staged = Stage(&node, ChunksOf(&ahead, 5));
    const int before = reads;
    while (reads < before + 5 && !testing::Test::HasFailure()) std::this_thread::yield();
    node.store().SwitchTo(staged);
    EXPECT_EQ(node.store().revision(), ahead.store().revision());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

// What the old state's last writes are remembered by (newest_versions.h) is not the new state's.
TEST(SwitchTo, WritesReplaceVersionsOfTheNewState) {
  TestNode ahead;
  Write(&ahead, 20);
  ahead.Delete("b");
  TestNode node;
  Write(&node, 3);
  node.store().SwitchTo(Stage(&node, ChunksOf(&ahead, 5)));
  const Index next = node.store().applied().position.index + 1;
  const Entry entries[] = {MakeEntry(next, CommandType::kPut, PutOf("a", "new")),
                           MakeEntry(next + 1, CommandType::kPut, PutOf("b", "new"))};
  std::vector<ApplyResult> results;
  node.store().Apply(entries, &results);
  const auto a = node.Get("a")->kvs(0);
  EXPECT_EQ(a.create_revision(), 2);
  EXPECT_EQ(a.version(), 21);
  const auto b = node.Get("b")->kvs(0);
  EXPECT_EQ(b.create_revision(), node.store().revision());
  EXPECT_EQ(b.version(), 1);
}

TEST(SwitchTo, SessionsAndCompactionGoOnFromTheNewState) {
  TestNode ahead;
  const SessionRef session{"client", 1};
  ahead.Apply(CommandType::kPut, PutOf("s", "1"), session, 1'000);
  Write(&ahead, 20);
  ahead.Compact(15);
  TestNode node;
  node.store().SwitchTo(Stage(&node, ChunksOf(&ahead, 5)));
  std::vector<ApplyResult> results;
  const Index next = node.store().applied().position.index + 1;
  node.store().Apply(
      std::vector<Entry>{MakeEntry(next, CommandType::kPut, PutOf("s", "1"), session, 2'000)},
      &results);
  EXPECT_TRUE(results[0].from_session);
  node.CompactAll();
  EXPECT_EQ(node.store().applied().compacted_to, 15);
  EXPECT_EQ(node.store().applied().sessions, 1u);
}

TEST(SwitchTo, TheLoopAnswersThoseWhoWait) {
  TestNode ahead;
  Write(&ahead, 20);
  ahead.Compact(15);
  const AppliedRecord applied = ahead.store().applied();
  TestNode node;
  const uint64_t staged = Stage(&node, ChunksOf(&ahead, 5));
  std::atomic<uint64_t> reported = 0;
  ApplyLoop loop(&node.store(), {}, [&](Index index, uint64_t) { reported = index.value(); });
  std::promise<bool> reached;
  std::promise<bool> compacted;
  std::promise<bool> after;
  loop.WhenApplied(applied.position.index, [&](bool ok) { reached.set_value(ok); });
  loop.WhenCompacted(15, [&](bool ok) { compacted.set_value(ok); });
  loop.SwitchTo(staged, applied.position.index);
  ApplyBatch batch;
  batch.entries.push_back(
      MakeEntry(applied.position.index + 1, CommandType::kPut, PutOf("later", "x")));
  batch.waiters.emplace_back(0, [&](ApplyResult&& result) {
    after.set_value(HeaderRevision(result) == applied.revision + 1);
  });
  loop.Submit(std::move(batch));
  EXPECT_TRUE(reached.get_future().get());
  EXPECT_TRUE(compacted.get_future().get());
  EXPECT_TRUE(after.get_future().get());
  loop.Stop();
  EXPECT_EQ(reported.load(), applied.position.index.value() + 1);
}

}  // namespace
}  // namespace raftkv::store
