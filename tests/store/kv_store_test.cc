// The store's promises beyond what requests answer: atomicity over a crash, damage, opening,
// concurrent readers, and what it asks of RocksDB.
#include "store/kv_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include <rocksdb/slice_transform.h>

#include "common/rng.h"
#include "store/kv_errors.h"
#include "store/mvcc.h"
#include "store/session_table.h"
#include "store/store_harness.h"
#include "store/take_view.h"

namespace raftkv::store {
namespace {

using testing::HasSubstr;

TEST(Open, AnEmptyStoreIsAtRevisionOne) {
  TestNode node;
  EXPECT_EQ(node.store().applied(), AppliedRecord{});
  EXPECT_EQ(node.store().revision(), 1);
  EXPECT_EQ(node.store().DurableApplied().value(), AppliedRecord{});
  EXPECT_TRUE(node.RawContent().empty());
}

TEST(Open, RefusesADamagedAppliedRecord) {
  TestNode node;
  node.Put("a", "1");
  std::string bytes = node.RawContent().at(AppliedKey());
  bytes[10] = static_cast<char>(bytes[10] ^ 4);
  node.WriteRaw(AppliedKey(), bytes);
  ASSERT_TRUE(node.engine().FlushKv().ok());
  node.Close();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status status = node.TryOpen();
    EXPECT_EQ(status.code(), Code::kCorruption);
    EXPECT_THAT(status.message(), HasSubstr("checksum"));
  }
}

TEST(Open, RefusesANewerFormat) {
  TestNode node;
  node.Put("a", "1");
  std::string bytes = node.RawContent().at(AppliedKey());
  bytes[0] = 3;
  node.WriteRaw(AppliedKey(), bytes);
  ASSERT_TRUE(node.engine().FlushKv().ok());
  node.Close();
  EXPECT_THAT(node.TryOpen().message(), HasSubstr("format version 3"));
}

TEST(Open, RefusesDataWithoutAnAppliedRecord) {
  TestNode node;
  node.Put("a", "1");
  node.WriteRaw(AppliedKey(), std::nullopt);
  ASSERT_TRUE(node.engine().FlushKv().ok());
  node.Close();
  EXPECT_EQ(node.TryOpen().code(), Code::kCorruption);
}

// What could only be if the record and the data were not written together.
TEST(Open, RefusesARecordThatContradictsTheData) {
  for (const int64_t off : {-1, 1}) {
    TestNode node;
    node.Put("a", "1");
    node.Put("a", "2");
    AppliedRecord record = node.store().applied();
    record.revision += off;
    node.WriteRaw(AppliedKey(), EncodeAppliedRecord(record));
    ASSERT_TRUE(node.engine().FlushKv().ok());
    node.Close();
    const Status status = node.TryOpen();
    EXPECT_EQ(status.code(), Code::kCorruption);
    EXPECT_THAT(status.message(), HasSubstr("revision index"));
  }
}

TEST(Open, TheNewestRevisionIsFoundAfterFullCompactionToo) {
  TestNode node;
  node.Put("a", "1");
  node.Delete("a");
  node.Compact(3);
  node.CompactAll();
  node.Restart();
  EXPECT_EQ(node.store().revision(), 3);
}

// Each put makes the revision one higher than the index, so that data without its record, or a
// record without its data, shows.
TEST(Crash, DataAndPositionMoveTogetherAtEveryFlush) {
  Rng rng(5);
  TestNode node;
  for (int round = 0; round < 20; ++round) {
    for (uint64_t i = rng.Below(8); i > 0; --i) {
      node.Append(CommandType::kPut, PutOf("k" + std::to_string(rng.Below(3)), "v"));
      if (rng.Percent(30)) node.AppendNoop();
    }
    node.ApplyPending(rng.Below(4));
    if (rng.Percent(50)) {
      ASSERT_TRUE(node.engine().FlushKv().ok());
    }
    const AppliedRecord durable = node.store().DurableApplied().value();
    node.Crash();
    ASSERT_EQ(node.store().applied(), durable);
    int64_t puts = 0;
    for (uint64_t i = 0; i < durable.position.index.value(); ++i) {
      puts += node.log()[i].kind == EntryKind::kCommand ? 1 : 0;
    }
    ASSERT_EQ(node.store().revision(), 1 + puts);
    ASSERT_EQ(node.CountKind(kDataKind), static_cast<size_t>(puts));
    ASSERT_EQ(node.CountKind(kRevisionKind), static_cast<size_t>(puts));
    node.Replay(rng.Below(4));
    ASSERT_EQ(node.store().applied().position.index.value(), node.last_index());
  }
}

// RocksDB flushes whenever its memtable is full, between any two batches.
TEST(Crash, DataAndPositionMoveTogetherWhenRocksDbFlushesByItself) {
  TestNode node;
  const std::string value(100'000, 'v');
  for (int i = 0; i < 130; ++i) node.Put("k" + std::to_string(i % 7), value);  // 4 MiB memtables
  const AppliedRecord durable = node.store().DurableApplied().value();
  ASSERT_GT(durable.position.index.value(), 0u) << "nothing was flushed: the test tests nothing";
  ASSERT_LT(durable.position.index.value(), node.last_index());
  const auto before = node.LogicalContent();
  node.Crash();
  ASSERT_GE(node.store().applied().position, durable.position);
  ASSERT_EQ(node.store().revision(),
            static_cast<int64_t>(node.store().applied().position.index.value()) + 1);
  ASSERT_EQ(node.CountKind(kDataKind), node.store().applied().position.index.value());
  node.Replay(10);
  EXPECT_EQ(node.LogicalContent(), before);
}

// A flush may come between any two writes to RocksDB. Were the record written by itself, before or
// after the data, sooner or later one would come in between and be the last before a crash.
TEST(Crash, DataAndPositionMoveTogetherWhateverAFlushFallsBetween) {
  TestNode node;
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> stop = false;
    std::latch flushing(1);
    std::thread flusher([&] {
      do {
        ASSERT_TRUE(node.engine().FlushKv().ok());
        if (!flushing.try_wait()) flushing.count_down();
      } while (!stop.load());
    });
    flushing.wait();
    for (int i = 0; i < 300; ++i) node.Put("k" + std::to_string(i % 7), "v");
    stop = true;
    flusher.join();
    node.Close();
    const Status opened = node.TryOpen();
    ASSERT_TRUE(opened.ok()) << opened << ", round " << round;
    const AppliedRecord applied = node.store().applied();
    ASSERT_EQ(applied.revision, static_cast<int64_t>(applied.position.index.value()) + 1);
    ASSERT_EQ(node.CountKind(kDataKind), applied.position.index.value());
    node.Replay();
  }
}

TEST(Crash, LosesWhatWasNotFlushedAndNothingElse) {
  TestNode node;
  node.Put("a", "1");
  ASSERT_TRUE(node.engine().FlushKv().ok());
  node.Put("a", "2");
  EXPECT_EQ(node.store().DurableApplied().value().position.index, Index(1));
  node.Crash();
  EXPECT_EQ(node.Get("a").value().kvs(0).value(), "1");
  node.Replay();
  EXPECT_EQ(node.Get("a").value().kvs(0).value(), "2");
}

TEST(Crash, CompactionTakesUpWhereItsFlushedStateEnded) {
  TestNode node;
  for (int i = 0; i < 30; ++i) node.Put("k" + std::to_string(i % 3), std::to_string(i));
  node.Compact(25);
  ASSERT_TRUE(node.store().CompactStep(5));
  ASSERT_TRUE(node.engine().FlushKv().ok());
  ASSERT_TRUE(node.store().CompactStep(5));
  ASSERT_GT(node.store().applied().compacted_to,
            node.store().DurableApplied().value().compacted_to);
  node.Crash();
  node.CompactAll();
  EXPECT_EQ(node.CountKind(kDataKind), 3u + 6u);  // one of each key at 25, and six since
  EXPECT_EQ(node.CountKind(kRevisionKind), 3u + 6u);
  EXPECT_EQ(node.GetRange("k", "l", 25).value().count(), 3);
}

TEST(Apply, KindsWithoutACommandOnlyMoveThePosition) {
  TestNode node;
  node.Put("a", "1");
  node.AppendNoop();
  EXPECT_EQ(node.ApplyPending().size(), 1u);
  const AppliedRecord applied = node.store().applied();
  EXPECT_EQ(applied.position.index, Index(2));
  EXPECT_EQ(applied.revision, 2);
  node.Restart();
  EXPECT_EQ(node.store().applied(), applied);
}

TEST(ApplyDeathTest, AGapInTheLogAborts) {
  TestNode node;
  std::vector<ApplyResult> results;
  const Entry entry = MakeEntry(Index(2), CommandType::kPut, PutOf("a", "1"));
  EXPECT_DEATH(node.store().Apply(std::span(&entry, 1), &results), "does not follow");
}

TEST(ApplyDeathTest, AnEntryThatCantBeDecodedAborts) {
  TestNode node;
  std::vector<ApplyResult> results;
  Entry entry{Index(1), Term(1), EntryKind::kCommand, std::make_shared<std::string>("junk")};
  EXPECT_DEATH(node.store().Apply(std::span(&entry, 1), &results), "entry 1 of term 1");
  entry.payload = std::make_shared<std::string>(EncodeCommand(CommandType::kPut, 1, {}, "\xff"));
  EXPECT_DEATH(node.store().Apply(std::span(&entry, 1), &results), "can't be parsed");
}

void Flip(TestNode* node, const std::string& key) {
  std::string bytes = node->RawContent().at(key);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  node->WriteRaw(key, bytes);
}

TEST(Damage, ReadsReportARecordThatFailsItsChecksum) {
  TestNode node;
  node.Put("a", "1");
  node.Put("b", "2");
  Flip(&node, DataKey("b", {3, 0}));
  EXPECT_TRUE(node.Get("a").ok());
  EXPECT_EQ(node.Get("b").status().code(), Code::kCorruption);
  EXPECT_THAT(node.Get("b").status().message(), HasSubstr("\"db"));
  EXPECT_EQ(node.GetRange("a", "z").status().code(), Code::kCorruption);
  etcdserverpb::RangeRequest count;
  count.set_key("a");
  count.set_range_end("z");
  count.set_count_only(true);
  EXPECT_EQ(node.store().Range(count).status().code(), Code::kCorruption);
  EXPECT_EQ(node.store()
                .ReadOnlyTxn(Proto<etcdserverpb::TxnRequest>("compare { key: \"b\" }"))
                .status()
                .code(),
            Code::kCorruption);
}

TEST(DamageDeathTest, ApplyingOnTopOfDamageAborts) {
  TestNode node;
  node.Put("a", "1");
  Flip(&node, DataKey("a", {2, 0}));
  node.Restart();  // until then the version that was written is remembered
  EXPECT_DEATH(node.Put("a", "2"), "checksum is wrong");
}

TEST(Damage, ARememberedVersionIsNotReadAgain) {
  TestNode node;
  node.Put("a", "1");
  Flip(&node, DataKey("a", {2, 0}));
  node.Put("a", "2");
  const auto found = node.Get("a");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->kvs(0).version(), 2);
  EXPECT_EQ(found->kvs(0).create_revision(), 2);
}

TEST(DamageDeathTest, CompactingADamagedIndexAborts) {
  TestNode node;
  node.Put("a", "1");
  node.Put("a", "2");
  node.Compact(3);
  Flip(&node, RevisionKey({2, 0}));
  EXPECT_DEATH(node.CompactAll(), "checksum is wrong");
}

TEST(DamageDeathTest, ADamagedSessionAborts) {
  TestNode node;
  node.Apply(CommandType::kPut, PutOf("a", "1"), {"c", 1});
  Flip(&node, SessionKey("c"));
  EXPECT_DEATH(node.Apply(CommandType::kPut, PutOf("a", "1"), {"c", 1}), "checksum is wrong");
}

TEST(Members, ArePublishedAndKept) {
  TestNode node;
  auto member = Proto<etcdserverpb::Member>(R"(ID: 2 name: "n2" clientURLs: "http://h:1")");
  EXPECT_TRUE(node.Apply(CommandType::kMemberAttributes, member).status.ok());
  member = Proto<etcdserverpb::Member>(R"(ID: 1 name: "n1" clientURLs: "http://g:1")");
  node.Apply(CommandType::kMemberAttributes, member);
  member.set_clienturls(0, "http://g:2");
  node.Apply(CommandType::kMemberAttributes, member);
  node.Restart();
  const auto members = node.store().Members();
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].clienturls(0), "http://g:2");
  EXPECT_EQ(members[1].name(), "n2");
  EXPECT_EQ(node.store().revision(), 1) << "attributes are no change of keys";

  Flip(&node, MemberKey(NodeId(2)));
  ASSERT_TRUE(node.engine().FlushKv().ok());
  node.Close();
  EXPECT_EQ(node.TryOpen().code(), Code::kCorruption);
}

TEST(Sessions, AnAnswerTooLargeToKeepIsRefusedWithItsRevision) {
  TestNode node;
  node.Put("big", std::string(kSessionAnswerBytesMax, 'v'));
  etcdserverpb::PutRequest request = PutOf("big", "small");
  request.set_prev_kv(true);
  EXPECT_TRUE(node.Apply(CommandType::kPut, request, {"c", 1}).status.ok());
  const ApplyResult again = node.Apply(CommandType::kPut, request, {"c", 1});
  EXPECT_TRUE(again.from_session);
  EXPECT_EQ(again.status, ErrSessionAnswerTooLarge(3));
  EXPECT_EQ(node.store().revision(), 3) << "applied once";
  // The session goes on.
  EXPECT_TRUE(node.Apply(CommandType::kPut, PutOf("big", "x"), {"c", 2}).status.ok());
}

TEST(Sessions, ManyExpireAFewAtATime) {
  TestNode node;
  node.SetSessionLimits({.sessions_max = 100, .ttl_ms = 1'000});
  for (int i = 0; i < 100; ++i) {
    node.Append(CommandType::kPut, PutOf("a", "1"), {"c" + std::to_string(i), 1}, 5'000);
  }
  node.ApplyPending();
  ASSERT_EQ(node.store().applied().sessions, 100u);
  const uint64_t later = 5'000 + 2'000;
  // In one batch and one by one.
  for (int i = 0; i < 5; ++i) {
    node.Append(CommandType::kPut, PutOf("a", "1"), {"n" + std::to_string(i), 1}, later);
  }
  node.ApplyPending();
  EXPECT_EQ(node.store().applied().sessions, 100u - 5 * kSessionsExpiredMax + 5);
  for (int i = 5; i < 20; ++i) {
    node.Apply(CommandType::kPut, PutOf("a", "1"), {"n" + std::to_string(i), 1}, later);
  }
  EXPECT_EQ(node.store().applied().sessions, 20u);
  EXPECT_EQ(node.CountKind(kSessionKind), 20u);
  EXPECT_EQ(node.CountKind(kSessionTimeKind), 20u);
}

// The table remembers where its oldest entry may be. A session that comes in the same second as
// that entry, with a name that sorts before it, must be found too.
TEST(Sessions, AllOfOneSecondExpireWhateverTheirNames) {
  TestNode node;
  node.SetSessionLimits({.ttl_ms = 1'000});
  auto put = [&node](const std::string& client, uint64_t time_ms) {
    return node.Apply(CommandType::kPut, PutOf("a", "1"), {client, 1}, time_ms);
  };
  put("m", 50'000);
  put("z", 50'000);  // looks for the oldest, and finds "m"
  put("a", 50'000);
  put("x", 60'000);
  EXPECT_EQ(node.store().applied().sessions, 1u);
  EXPECT_EQ(node.CountKind(kSessionKind), 1u);
}

TEST(Sessions, ASessionWriteMakesNoRevision) {
  TestNode node;
  EXPECT_EQ(HeaderRevision(node.Apply(CommandType::kDeleteRange, DeleteOf("missing"), {"c", 1})),
            1);
  EXPECT_EQ(node.store().revision(), 1);
  node.Restart();
  EXPECT_TRUE(node.Apply(CommandType::kDeleteRange, DeleteOf("missing"), {"c", 1}).from_session);
}

// Reads at the compact revision and above, while versions below disappear.
TEST(Concurrency, ReadersNeverSeeAHalfAppliedBatchOrAHoleOfCompaction) {
  TestNode node;
  constexpr int kKeys = 20;
  constexpr int kRounds = 400;
  // Each transaction sets all keys to the same number, so that any consistent read finds one
  // number.
  auto write = [&node](int round) {
    etcdserverpb::TxnRequest txn;
    for (int k = 0; k < kKeys; ++k) {
      *txn.add_success()->mutable_request_put() =
          PutOf("k" + std::to_string(k), std::to_string(round));
    }
    node.Append(CommandType::kTxn, txn);
  };
  write(0);
  node.ApplyPending();

  std::atomic<bool> stop = false;
  std::atomic<uint64_t> reads = 0;
  std::atomic<uint64_t> compacted = 0;
  std::latch started(3);
  auto reader = [&](uint64_t seed) {
    Rng rng(seed);
    started.count_down();
    while (!stop.load()) {
      etcdserverpb::RangeRequest request;
      request.set_key("k");
      request.set_range_end("l");
      const int64_t newest = node.store().revision();
      if (rng.Percent(60)) {
        request.set_revision(newest - static_cast<int64_t>(rng.Below(6)));
        if (request.revision() < 2) continue;
      }
      if (rng.Percent(30)) request.clear_range_end(), request.set_key("k7");
      const bool single = request.range_end().empty();
      auto in_memory = single ? node.store().GetInMemory(request) : std::nullopt;
      const auto response = in_memory ? *std::move(in_memory) : node.store().Range(request);
      if (!response.ok()) {
        ASSERT_EQ(response.status(), ErrCompacted());
        ASSERT_GT(request.revision(), 0) << "a read of the newest can't be compacted";
        ++compacted;
        continue;
      }
      ASSERT_EQ(response->kvs_size(), single ? 1 : kKeys);
      const int64_t at =
          request.revision() > 0 ? request.revision() : response->header().revision();
      ASSERT_GE(response->header().revision(), newest);
      for (const auto& kv : response->kvs()) {
        ASSERT_EQ(kv.mod_revision(), at);
        ASSERT_EQ(kv.value(), std::to_string(at - 2));
        ASSERT_EQ(kv.version(), at - 1);
      }
      ++reads;
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t seed = 1; seed <= 3; ++seed) threads.emplace_back(reader, seed);
  started.wait();
  for (int round = 1; round <= kRounds; ++round) {
    write(round);
    if (round % 5 == 0) {
      etcdserverpb::CompactionRequest compact;
      compact.set_revision(node.store().revision());
      node.Append(CommandType::kCompact, compact);
    }
    node.ApplyPending();
    while (node.store().CompactStep(7)) {
    }
    if (round % 100 == 0) {
      ASSERT_TRUE(node.engine().FlushKv().ok());
    }
  }
  // On a slow machine the readers may not have had their turn yet.
  while (reads.load() < 100 && !HasFailure()) std::this_thread::yield();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(node.store().compact_revision(), kRounds + 1);
}

// Everything the apply thread can do while a reader takes its view, done at the worst moments.
class TakingAView : public testing::Test {
 protected:
  TakingAView() {
    node_.Put("a", "2");
    Publish();
  }

  void Publish() {
    revision_ = node_.store().revision();
    compact_revision_ = node_.store().compact_revision();
  }
  // Writes on, compacts, and removes all there is to remove.
  void GoOn() {
    node_.Put("a", std::to_string(node_.store().revision() + 1));
    node_.Compact(node_.store().revision());
    node_.CompactAll();
    Publish();
  }
  MvccView Make() { return MvccView::ForAll(node_.engine().db(), node_.engine().kv()); }
  // The value of "a" in what was taken; it is the number of its revision.
  static std::string Read(std::pair<MvccView, ReadBounds>* taken) {
    std::optional<KeyVersion> version;
    EXPECT_TRUE(taken->first.Get("a", taken->second.revision, &version).ok());
    return version ? std::string(version->value) : "missing";
  }

  TestNode node_;
  std::atomic<int64_t> revision_ = 0;
  std::atomic<int64_t> compact_revision_ = 0;
};

TEST_F(TakingAView, ACompactionBeforeTheViewIsNoticed) {
  int made = 0;
  auto taken = TakeView(revision_, compact_revision_, [&] {
    if (made++ == 0) GoOn();
    return Make();
  });
  EXPECT_EQ(made, 2) << "the first view misses what its revision needs";
  EXPECT_EQ(taken.second.revision, 3);
  EXPECT_EQ(Read(&taken), "3");
}

TEST_F(TakingAView, WritesAfterTheViewAreNotPromised) {
  int made = 0;
  auto taken = TakeView(revision_, compact_revision_, [&] {
    ++made;
    MvccView view = Make();
    node_.Put("a", "3");
    Publish();
    return view;
  });
  EXPECT_EQ(made, 1);
  EXPECT_EQ(taken.second.revision, 2) << "the view has no revision 3";
  EXPECT_EQ(Read(&taken), "2");
}

TEST_F(TakingAView, ACompactionAfterTheViewDoesNoHarm) {
  int made = 0;
  auto taken = TakeView(revision_, compact_revision_, [&] {
    MvccView view = Make();
    if (made++ == 0) GoOn();
    return view;
  });
  EXPECT_EQ(Read(&taken), std::to_string(taken.second.revision));
}

// The prefix extractor and its filters must never hide a version, whatever tables hold it.
TEST(Prefix, PointReadsFindWhatScansFind) {
  TestNode node;
  Rng rng(3);
  auto key = [&rng] {
    std::string k = "key" + std::to_string(rng.Below(3'000));
    if (rng.Percent(30)) k += std::string(1, '\0') + std::to_string(rng.Below(3));
    if (rng.Percent(10)) k.insert(1, std::string("\0\xff\x01", 3));
    return k;
  };
  for (int table = 0; table < 6; ++table) {
    for (int i = 0; i < 1'500; ++i) {
      if (rng.Percent(20)) {
        node.Append(CommandType::kDeleteRange, DeleteOf(key()));
      } else {
        node.Append(CommandType::kPut, PutOf(key(), std::string(rng.Below(100), 'v')));
      }
    }
    node.ApplyPending(100);
    ASSERT_TRUE(node.engine().FlushKv().ok());
    if (table == 3) {
      ASSERT_TRUE(node.engine()
                      .db()
                      ->CompactRange(rocksdb::CompactRangeOptions(), node.engine().kv().get(),
                                     nullptr, nullptr)
                      .ok());
    }
  }
  for (const int64_t at : {int64_t{0}, int64_t{2'000}, int64_t{5'000}}) {
    const auto all = node.GetRange(std::string(1, '\0'), std::string(1, '\0'), at).value();
    ASSERT_GT(all.count(), 500);
    for (const auto& kv : all.kvs()) {
      const auto one = node.Get(kv.key(), at).value();
      ASSERT_EQ(one.count(), 1) << Printable(kv.key());
      ASSERT_EQ(one.kvs(0).SerializeAsString(), kv.SerializeAsString());
    }
    EXPECT_EQ(node.Get("nokey", at).value().count(), 0);
    EXPECT_EQ(node.Get("key", at).value().count(), 0);
  }
}

TEST(Prefix, PutsOfNewKeysAreFilteredAndTheDatabaseOpensWithoutTheExtractor) {
  TestNode node;
  node.Put("a", "1");
  node.Put(std::string("a\0", 2), "2");
  ASSERT_TRUE(node.engine().FlushKv().ok());
  rocksdb::DB* db = node.engine().db();
  const auto options = db->GetOptions(node.engine().kv().get());
  ASSERT_NE(options.prefix_extractor, nullptr);
  EXPECT_EQ(std::string(options.prefix_extractor->Name()), "raftkv.KvPrefix.1");

  // As ldb does: what RocksDB stored of the options, and no code of ours.
  const std::string path = db->GetName();
  node.Close();
  rocksdb::DBOptions db_options;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const char* name : {"default", "raft_meta", "raft_log", "kv"}) {
    families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* plain = nullptr;
  const auto opened = rocksdb::DB::OpenForReadOnly(db_options, path, families, &handles, &plain);
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  size_t keys = 0;
  {
    std::unique_ptr<rocksdb::Iterator> it(plain->NewIterator({}, handles[3]));
    for (it->SeekToFirst(); it->Valid(); it->Next()) ++keys;
    it->Seek(DataKey("a", {3, 0}));
    ASSERT_TRUE(it->Valid());
  }
  EXPECT_EQ(keys, 5u);  // the applied record, two versions, two index entries
  for (auto* handle : handles) plain->DestroyColumnFamilyHandle(handle);
  delete plain;
}

}  // namespace
}  // namespace raftkv::store
