// Gets out of memory alone: the answer is the one that the disk would give, or there is none.
#include <gtest/gtest.h>

#include "common/rng.h"
#include "store/kv_errors.h"
#include "store/kv_store.h"
#include "store/mvcc.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

etcdserverpb::RangeRequest GetOf(const std::string& key, int64_t revision = 0) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_revision(revision);
  return request;
}

void Flip(TestNode* node, const std::string& key) {
  std::string bytes = node->RawContent().at(key);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  node->WriteRaw(key, bytes);
}

TEST(InMemory, ABlockThatIsNotInTheCacheHasNoAnswerUntilSomebodyReadIt) {
  TestNode node;
  node.Put("a", "1");
  node.Put("b", "2");
  ASSERT_TRUE(node.store().GetInMemory(GetOf("a")).has_value()) << "in the memtable";
  ASSERT_TRUE(node.engine().FlushKv().ok());
  EXPECT_FALSE(node.store().GetInMemory(GetOf("a")).has_value());
  const auto read = node.Get("a").value();
  ASSERT_EQ(read.count(), 1);
  const auto in_memory = node.store().GetInMemory(GetOf("a"));
  ASSERT_TRUE(in_memory.has_value());
  EXPECT_EQ(in_memory->value().SerializeAsString(), read.SerializeAsString());
  node.Put("a", "3");
  EXPECT_EQ(node.store().GetInMemory(GetOf("a")).value()->kvs(0).value(), "3");
  EXPECT_EQ(node.store().GetInMemory(GetOf("a", 2)).value()->kvs(0).value(), "1");
}

TEST(InMemory, WhereAKeysNewestVersionIsIsRemembered) {
  TestNode node;
  node.Put("a", "1");
  node.Put("b", "2");
  node.Delete("b");
  node.Put("a", "3");
  ASSERT_TRUE(node.engine().FlushKv().ok());
  // That a key was deleted needs no look at the table.
  const auto deleted = node.store().GetInMemory(GetOf("b"));
  ASSERT_TRUE(deleted.has_value());
  EXPECT_EQ(deleted->value().SerializeAsString(), node.Get("b").value().SerializeAsString());
  // And with its block in the cache a version is found as by a search.
  for (const char* key : {"a", "b", "c"}) {
    const auto searched = node.Get(key).value();
    const auto remembered = node.store().GetInMemory(GetOf(key));
    ASSERT_TRUE(remembered.has_value()) << key;
    EXPECT_EQ(remembered->value().SerializeAsString(), searched.SerializeAsString()) << key;
  }
}

TEST(InMemory, WhatCantBeReadIsRefusedAsEver) {
  TestNode node;
  for (int i = 0; i < 5; ++i) node.Put("a", std::to_string(i));
  node.Compact(4);
  node.CompactAll();
  for (const int64_t at : {3, 4, 6, 7}) {
    const auto in_memory = node.store().GetInMemory(GetOf("a", at));
    ASSERT_TRUE(in_memory.has_value()) << at;
    EXPECT_EQ(in_memory->status(), node.Get("a", at).status()) << at;
  }
  EXPECT_EQ(node.store().GetInMemory(GetOf("a", 3))->status(), ErrCompacted());
  EXPECT_EQ(node.store().GetInMemory(GetOf("a", 7))->status(), ErrFutureRevision());
  Flip(&node, DataKey("a", {6, 0}));
  EXPECT_EQ(node.store().GetInMemory(GetOf("a"))->status(), node.Get("a").status());
  EXPECT_EQ(node.Get("a").status().code(), Code::kCorruption);
}

// RocksDB keeps a mark for each version that was removed, until it compacts, and a read of the key
// steps over all of them.
TEST(InMemory, AKeyWithManyRemovedVersionsHasNoAnswer) {
  TestNode node;
  for (int i = 0; i < 1'000; ++i) node.Append(CommandType::kPut, PutOf("a", "1"));
  node.Append(CommandType::kDeleteRange, DeleteOf("a"));
  node.Append(CommandType::kPut, PutOf("b", "1"));
  node.ApplyPending();
  EXPECT_EQ(node.store().GetInMemory(GetOf("a")).value()->count(), 0);
  node.Compact(node.store().revision());
  node.CompactAll(100);
  node.Restart();  // until then it is remembered that the key was deleted
  EXPECT_EQ(node.Get("a").value().count(), 0) << "reads the blocks with the marks";
  EXPECT_FALSE(node.store().GetInMemory(GetOf("a")).has_value());
  EXPECT_TRUE(node.store().GetInMemory(GetOf("b")).has_value());
}

// Tables on several levels, of which more and more comes into the cache, and a memtable.
TEST(InMemory, AnswersAsTheDiskWouldOrNotAtAll) {
  TestNode node;
  Rng rng(5);
  const auto key = [&rng] { return "key" + std::to_string(rng.Below(2'000)); };
  for (int table = 0; table < 5; ++table) {
    for (int i = 0; i < 1'500; ++i) {
      if (rng.Percent(20)) {
        node.Append(CommandType::kDeleteRange, DeleteOf(key()));
      } else {
        node.Append(CommandType::kPut, PutOf(key(), std::string(rng.Below(300), 'v')));
      }
    }
    node.ApplyPending(100);
    ASSERT_TRUE(node.engine().FlushKv().ok());
    if (table == 2) {
      ASSERT_TRUE(node.engine()
                      .db()
                      ->CompactRange(rocksdb::CompactRangeOptions(), node.engine().kv().get(),
                                     nullptr, nullptr)
                      .ok());
    }
  }
  node.Restart();
  for (int i = 0; i < 50; ++i) node.Put(key(), "new");
  int missed = 0;
  int answered = 0;
  for (int i = 0; i < 6'000; ++i) {
    auto request = GetOf(key(), rng.Percent(50) ? 0 : static_cast<int64_t>(rng.Between(1, 6'000)));
    request.set_count_only(rng.Percent(10));
    request.set_keys_only(rng.Percent(10));
    const auto in_memory = node.store().GetInMemory(request);
    const auto read = node.store().Range(request);
    ++(in_memory ? answered : missed);
    if (!in_memory) continue;
    ASSERT_EQ(in_memory->status(), read.status()) << request.ShortDebugString();
    if (read.ok()) {
      ASSERT_EQ((*in_memory)->SerializeAsString(), read->SerializeAsString())
          << request.ShortDebugString();
    }
  }
  EXPECT_GT(missed, 20);
  EXPECT_GT(answered, 3'000);
}

}  // namespace
}  // namespace raftkv::store
