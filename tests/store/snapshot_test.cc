// Snapshots: from a checkpoint to chunks, to tables, to files and back, and what is wrong with
// them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "store/mvcc.h"
#include "store/restore.h"
#include "store/snapshot_file.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

using testing::HasSubstr;

constexpr uint64_t kId = 77;

// Large values, so that there are several chunks.
void Fill(TestNode* node, int puts = 60) {
  for (int i = 0; i < puts; ++i) {
    const std::string value(100'000, static_cast<char>('a' + i % 26));
    node->Append(CommandType::kPut, PutOf("key" + std::to_string(i % 40), value));
  }
  node->Append(CommandType::kDeleteRange, DeleteOf("key7"));
  node->ApplyPending();
}

std::vector<std::string> DropDirectoryAndStage(TestNode* to,
                                               const std::vector<std::string>& chunks) {
  const uint64_t id = Stage(to, chunks);
  to->store().SwitchTo(id);
  return chunks;
}

TEST(Snapshot, CarriesTheStateAsItIs) {
  TestNode from;
  Fill(&from);
  const auto chunks = ChunksOf(&from, kId);
  ASSERT_GT(chunks.size(), 5u);
  TestNode to;
  DropDirectoryAndStage(&to, chunks);
  EXPECT_TRUE(to.RawContent() == from.RawContent());
  EXPECT_EQ(to.store().applied(), from.store().applied());
  EXPECT_EQ(to.GetRange("k", "l")->SerializeAsString(),
            from.GetRange("k", "l")->SerializeAsString());
  EXPECT_EQ(to.store().HashAt(0, nullptr)->hash, from.store().HashAt(0, nullptr)->hash);
  to.Crash();
  EXPECT_TRUE(to.RawContent() == from.RawContent());
}

TEST(Snapshot, IsOfItsAppliedPositionWhateverIsWrittenMeanwhile) {
  TestNode from;
  Fill(&from, 30);
  const TempDir dir;
  auto checkpoint = CheckpointOf(&from, dir.path() + "/c");
  const auto content = from.RawContent();
  const AppliedRecord applied = from.store().applied();
  from.Put("later", "x");
  auto source = SnapshotSource::Open(std::move(checkpoint), {}, kId);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->header().applied, applied);
  std::vector<std::string> chunks;
  for (std::string chunk; *(*source)->Next(&chunk);) {
    chunks.push_back(chunk);
    from.Put("key1", "meanwhile");
  }
  TestNode to;
  DropDirectoryAndStage(&to, chunks);
  EXPECT_TRUE(to.RawContent() == content);
}

TEST(Snapshot, RewindGivesTheSameBytesAgain) {
  TestNode from;
  Fill(&from);
  const auto chunks = ChunksOf(&from, kId);
  const TempDir dir;
  auto source = SnapshotSource::Open(CheckpointOf(&from, dir.path() + "/c"), {}, kId).value();
  std::string chunk;
  ASSERT_TRUE(*source->Next(&chunk));
  EXPECT_EQ(source->Rewind(2).code(), Code::kInvalidArgument) << "never read";
  for (const size_t end : {size_t{3}, chunks.size()}) {
    for (size_t back = 0; back <= end; ++back) {
      while (source->next_chunk() < end) ASSERT_TRUE(*source->Next(&chunk));
      ASSERT_TRUE(source->Rewind(back).ok());
      for (size_t i = back; i < end; ++i) {
        ASSERT_TRUE(*source->Next(&chunk));
        ASSERT_TRUE(chunk == chunks[i]) << "chunk " << i << " after going back to " << back;
      }
    }
  }
  EXPECT_FALSE(*source->Next(&chunk));
}

TEST(Snapshot, ADamagedRecordIsNotSent) {
  TestNode from;
  from.Put("a", "value");
  std::string record = from.RawContent().at(DataKey("a", {2, 0}));
  record.back() ^= 1;
  from.WriteRaw(DataKey("a", {2, 0}), record);
  const TempDir dir;
  auto source = SnapshotSource::Open(CheckpointOf(&from, dir.path() + "/c"), {}, kId).value();
  std::string chunk;
  ASSERT_TRUE(source->Next(&chunk).ok());
  EXPECT_EQ(source->Next(&chunk).status().code(), Code::kCorruption);
}

class Sink : public testing::Test {
 protected:
  Sink() {
    Fill(&node_);
    chunks_ = ChunksOf(&node_, kId);
  }
  TestNode node_;
  TempDir dir_;
  std::vector<std::string> chunks_;
};

TEST_F(Sink, RefusesWhatIsWrongAndThenTakesWhatIsRight) {
  const auto other = ChunksOf(&node_, kId + 1);
  SnapshotSink sink(dir_.path(), kId);
  for (size_t i = 0; i < chunks_.size(); ++i) {
    std::string damaged = chunks_[i];
    damaged[damaged.size() / 2] ^= 1;
    EXPECT_EQ(sink.Add(damaged).code(), Code::kInvalidArgument);
    EXPECT_EQ(sink.Add(other[i]).code(), Code::kInvalidArgument) << "of another snapshot";
    EXPECT_EQ(sink.Add(chunks_[i].substr(0, chunks_[i].size() - 1)).code(), Code::kInvalidArgument);
    if (i + 1 < chunks_.size()) {
      EXPECT_EQ(sink.Add(chunks_[i + 1]).code(), Code::kInvalidArgument);
    }
    if (i > 0) {
      EXPECT_EQ(sink.Add(chunks_[i - 1]).code(), Code::kInvalidArgument);
    }
    EXPECT_EQ(sink.next_chunk(), i);
    EXPECT_EQ(sink.Finish().status().code(), Code::kCorruption) << "not all of it is there";
    ASSERT_TRUE(sink.Add(chunks_[i]).ok());
  }
  EXPECT_TRUE(sink.has_trailer());
  EXPECT_EQ(sink.Add(chunks_.back()).code(), Code::kInvalidArgument);
  EXPECT_TRUE(sink.Finish().ok());
}

// What no single chunk shows: the digest in the trailer is of other chunks.
TEST_F(Sink, ComparesTheWholeWithTheTrailer) {
  const Chunk trailer = DecodeChunk(kId, chunks_.back()).value();
  SnapshotTrailer wrong = DecodeSnapshotTrailer(trailer.body).value();
  wrong.digest[5] ^= 1;
  SnapshotSink sink(dir_.path(), kId);
  for (size_t i = 0; i + 1 < chunks_.size(); ++i) ASSERT_TRUE(sink.Add(chunks_[i]).ok());
  ASSERT_TRUE(
      sink.Add(EncodeChunk(kId, trailer.number, ChunkKind::kTrailer, EncodeSnapshotTrailer(wrong)))
          .ok());
  EXPECT_THAT(sink.Finish().status().message(), HasSubstr("digest"));
}

// A chunk left out, with those behind it numbered anew: the checksums are right, the count is not.
TEST_F(Sink, NoticesAMissingChunk) {
  SnapshotSink sink(dir_.path(), kId);
  ASSERT_TRUE(sink.Add(chunks_[0]).ok());
  for (size_t i = 2; i < chunks_.size(); ++i) {
    const Chunk chunk = DecodeChunk(kId, chunks_[i]).value();
    ASSERT_TRUE(sink.Add(EncodeChunk(kId, i - 1, chunk.kind, chunk.body)).ok());
  }
  EXPECT_EQ(sink.Finish().status().code(), Code::kCorruption);
}

TEST_F(Sink, RefusesANewerVersion) {
  SnapshotHeader header = DecodeSnapshotHeader(DecodeChunk(kId, chunks_[0])->body).value();
  header.version = kSnapshotVersion + 1;
  SnapshotSink sink(dir_.path(), kId);
  EXPECT_EQ(sink.Add(EncodeChunk(kId, 0, ChunkKind::kHeader, EncodeSnapshotHeader(header))).code(),
            Code::kFailedPrecondition);
}

class SnapshotFile : public testing::Test {
 protected:
  void Write(TestNode* node) {
    auto source = SnapshotSource::Open(CheckpointOf(node, dir_.path() + "/c"), {}, kId).value();
    ASSERT_TRUE(WriteSnapshotFile(source.get(), [this](std::string_view bytes) {
                  bytes_ += bytes;
                  return Status::Ok();
                }).ok());
    Save(bytes_);
  }
  void Save(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  TempDir dir_;
  const std::string path_ = dir_.path() + "/file";
  std::string bytes_;
};

TEST_F(SnapshotFile, TellsWhatItHolds) {
  TestNode node;
  Fill(&node);
  Write(&node);
  EXPECT_EQ(bytes_.size() % 512, 32u) << "what etcd's clients check";
  const auto info = ReadSnapshotFile(path_, nullptr);
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->keys, 39u);
  EXPECT_EQ(info->records, node.RawContent().size());
  EXPECT_EQ(info->bytes, bytes_.size());
  EXPECT_EQ(info->header.applied, node.store().applied());
}

TEST_F(SnapshotFile, AnyFlippedByteAndAnyCutIsFound) {
  TestNode node;
  node.Put("a", "1");
  node.Put("b", "2");
  Write(&node);
  ASSERT_TRUE(ReadSnapshotFile(path_, nullptr).ok());
  for (size_t i = 0; i < bytes_.size(); ++i) {
    std::string damaged = bytes_;
    damaged[i] ^= 1;
    Save(damaged);
    ASSERT_FALSE(ReadSnapshotFile(path_, nullptr).ok()) << "byte " << i;
    Save(bytes_.substr(0, i));
    ASSERT_EQ(ReadSnapshotFile(path_, nullptr).status().code(), Code::kCorruption)
        << "cut at " << i;
  }
  Save(bytes_ + "x");
  EXPECT_EQ(ReadSnapshotFile(path_, nullptr).status().code(), Code::kCorruption);
}

TEST_F(SnapshotFile, IsRestoredToANewClusterWithTheRevisionRaised) {
  TestNode node;
  Membership membership;
  membership.voters = {NodeId(1)};
  node.AppendConfig(membership);
  node.Append(CommandType::kMemberAttributes, Proto<etcdserverpb::Member>("ID: 1 name: 'n1'"));
  node.ApplyPending();
  node.Put("a", "1");
  node.Put("b", "2");
  node.Delete("b");  // the newest change is a tombstone, which compaction will remove
  const SessionLimits limits{.sessions_max = 7, .ttl_ms = 1'000};
  node.SetSessionLimits(limits);
  Write(&node);

  RestoreOptions options;
  options.engine.path = dir_.path() + "/restored";
  options.identity.cluster = ClusterId(9);
  options.identity.node = NodeId(4);
  options.identity.node_name = "n4";
  options.raft_meta = {{"extra", "record"}};
  const auto info = RestoreSnapshot(path_, options);
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_FALSE(std::filesystem::exists(options.engine.path + ".restore"));
  auto engine = Engine::Open(options.engine).value();
  EXPECT_EQ(engine->identity().cluster, ClusterId(9));
  auto opened = KvStore::Open(engine.get());
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  KvStore& store = **opened;
  const int64_t raised = node.store().revision() + kRevisionBump;
  EXPECT_EQ(store.revision(), raised);
  EXPECT_EQ(store.compact_revision(), raised);
  EXPECT_EQ(store.applied().bumped_to, raised);
  EXPECT_EQ(store.applied().position, kRestoredPosition);
  EXPECT_EQ(store.applied().session_limits, limits) << "the sessions are kept, and so are these";
  EXPECT_TRUE(store.Members().empty());
  EXPECT_FALSE(store.Configuration().has_value());
  while (store.CompactStep(2)) {
  }
  EXPECT_TRUE(KvStore::Open(engine.get()).ok()) << "compaction must not make it look damaged";
  std::vector<ApplyResult> results;
  store.Apply(std::vector<Entry>{MakeEntry(Index(2), CommandType::kPut, PutOf("c", "3"))},
              &results);
  EXPECT_EQ(HeaderRevision(results[0]), raised + 1);
  etcdserverpb::RangeRequest request;
  request.set_key("a");
  EXPECT_EQ(store.Range(request)->kvs(0).value(), "1");
  EXPECT_TRUE(KvStore::Open(engine.get()).ok());
  EXPECT_EQ(RestoreSnapshot(path_, options).status().code(), Code::kAlreadyExists);
}

}  // namespace
}  // namespace raftkv::store
