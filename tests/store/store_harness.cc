#include "store/store_harness.h"

#include <filesystem>
#include <type_traits>

#include <google/protobuf/text_format.h>
#include <rocksdb/iterator.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/membership_codec.h"
#include "store/mvcc.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"

namespace raftkv::store {
TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "raftkv-store-XXXXXX").string();
  RAFTKV_CHECK(mkdtemp(name.data()) != nullptr, "mkdtemp " + name);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Entry MakeEntry(Index index, CommandType type, const google::protobuf::MessageLite& request,
                const SessionRef& session, uint64_t time_ms) {
  return MakeRawEntry(index, type, request.SerializeAsString(), session, time_ms);
}

Entry MakeRawEntry(Index index, CommandType type, std::string_view body, const SessionRef& session,
                   uint64_t time_ms) {
  std::string payload = EncodeCommand(type, /*request_id=*/index.value(), session, body);
  StampCommandTime(&payload, time_ms);
  return {index, Term(1), EntryKind::kCommand,
          std::make_shared<const std::string>(std::move(payload))};
}

TestNode::TestNode(AdjustEngine adjust) : adjust_(adjust) {
  NodeIdentity identity;
  identity.cluster = ClusterId(1);
  identity.node = NodeId(1);
  identity.node_name = "n1";
  const Status status = Engine::Bootstrap(OpenOptions(), identity, {});
  RAFTKV_CHECK(status.ok(), status.ToString());
  MustOpen();
}

Status TestNode::TryOpen() {
  auto engine = Engine::Open(OpenOptions());
  if (!engine.ok()) return engine.status();
  engine_ = std::move(engine).value();
  auto store = KvStore::Open(engine_.get());
  if (!store.ok()) {
    engine_.reset();
    return store.status();
  }
  store_ = std::move(store).value();
  return Status::Ok();
}

EngineOptions TestNode::OpenOptions() const {
  EngineOptions options;
  options.path = dir_.path() + "/db";
  options.block_cache_bytes = 8 << 20;
  options.kv_memtable_bytes = 4 << 20;
  options.log_memtable_bytes = 1 << 20;
  return adjust_ == nullptr ? options : adjust_(options);
}

void TestNode::MustOpen() {
  const Status status = TryOpen();
  RAFTKV_CHECK(status.ok(), status.ToString());
}

void TestNode::Close() {
  store_.reset();
  engine_.reset();
}

void TestNode::Crash() {
  Close();
  MustOpen();
}

void TestNode::Restart() {
  const Status status = engine_->FlushKv();
  RAFTKV_CHECK(status.ok(), status.ToString());
  Crash();
}

Index TestNode::Append(CommandType type, const google::protobuf::MessageLite& request,
                       const SessionRef& session, uint64_t time_ms) {
  const Index index(log_.size() + 1);
  log_.push_back(MakeEntry(index, type, request, session, time_ms));
  return index;
}

Index TestNode::AppendSessionLimits(const SessionLimits& limits) {
  const Index index(log_.size() + 1);
  log_.push_back(
      MakeRawEntry(index, CommandType::kSessionLimits, EncodeSessionLimits(limits), {}, 0));
  return index;
}

Index TestNode::AppendNoop() {
  const Index index(log_.size() + 1);
  log_.push_back({index, Term(1), EntryKind::kNoop, nullptr});
  return index;
}

Index TestNode::AppendConfig(const Membership& membership) {
  const Index index(log_.size() + 1);
  log_.push_back({index, Term(1), EntryKind::kConfig,
                  std::make_shared<const std::string>(EncodeMembership(membership))});
  return index;
}

std::vector<ApplyResult> TestNode::ApplyPending(size_t batch, bool awaited) {
  std::vector<ApplyResult> all;
  std::vector<ApplyResult> results;
  for (uint64_t from = store_->applied().position.index.value(); from < log_.size();) {
    const size_t size = batch == 0 ? log_.size() - from : std::min(batch, log_.size() - from);
    store_->Apply(std::span(log_).subspan(from, size), std::vector<bool>(size, awaited), &results);
    for (ApplyResult& result : results) all.push_back(std::move(result));
    from += size;
  }
  return all;
}

void TestNode::Replay(size_t batch) { ApplyPending(batch, /*awaited=*/false); }

ApplyResult TestNode::Apply(CommandType type, const google::protobuf::MessageLite& request,
                            const SessionRef& session, uint64_t time_ms, bool awaited) {
  Append(type, request, session, time_ms);
  std::vector<ApplyResult> results = ApplyPending(/*batch=*/0, awaited);
  RAFTKV_CHECK(results.size() == 1, "something else was pending");
  return std::move(results[0]);
}

ApplyResult TestNode::Put(const std::string& key, const std::string& value) {
  return Apply(CommandType::kPut, PutOf(key, value));
}

ApplyResult TestNode::Delete(const std::string& key, const std::string& end) {
  return Apply(CommandType::kDeleteRange, DeleteOf(key, end));
}

ApplyResult TestNode::Compact(int64_t revision) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  return Apply(CommandType::kCompact, request);
}

void TestNode::SetSessionLimits(const SessionLimits& limits) {
  AppendSessionLimits(limits);
  const std::vector<ApplyResult> results = ApplyPending();
  RAFTKV_CHECK(results.size() == 1 && results[0].status.ok(), "it can't fail");
}

StatusOr<etcdserverpb::RangeResponse> TestNode::Get(const std::string& key,
                                                    int64_t revision) const {
  return GetRange(key, "", revision);
}

StatusOr<etcdserverpb::RangeResponse> TestNode::GetRange(const std::string& key,
                                                         const std::string& end,
                                                         int64_t revision) const {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(end);
  request.set_revision(revision);
  return store_->Range(request);
}

void TestNode::CompactAll(size_t step) {
  while (store_->CompactStep(step)) {
  }
}

std::map<std::string, std::string> TestNode::RawContent() {
  std::map<std::string, std::string> content;
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  std::unique_ptr<rocksdb::Iterator> it(engine_->db()->NewIterator(options, engine_->kv().get()));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    content[it->key().ToString()] = it->value().ToString();
  }
  RAFTKV_CHECK(it->status().ok(), it->status().ToString());
  return content;
}

std::map<std::string, std::string> TestNode::LogicalContent() {
  std::map<std::string, std::string> content = RawContent();
  auto it = content.find(AppliedKey());
  if (it == content.end()) return content;
  StatusOr<AppliedRecord> record = DecodeAppliedRecord(it->second);
  RAFTKV_CHECK(record.ok(), record.status().ToString());
  record->compacted_to = 0;
  it->second = EncodeAppliedRecord(*record);
  return content;
}

size_t TestNode::CountKind(char kind) {
  size_t count = 0;
  for (const auto& [key, value] : RawContent()) count += key[0] == kind ? 1 : 0;
  return count;
}

void TestNode::WriteRaw(const std::string& key, const std::optional<std::string>& value) {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  const rocksdb::Status status = value
                                     ? engine_->db()->Put(options, engine_->kv().get(), key, *value)
                                     : engine_->db()->Delete(options, engine_->kv().get(), key);
  RAFTKV_CHECK(status.ok(), status.ToString());
}

etcdserverpb::PutRequest PutOf(const std::string& key, const std::string& value) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  return request;
}

etcdserverpb::DeleteRangeRequest DeleteOf(const std::string& key, const std::string& end) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key);
  request.set_range_end(end);
  return request;
}

std::unique_ptr<Engine> CheckpointOf(TestNode* node, const std::string& path) {
  const Status status = node->engine().MakeCheckpoint(path);
  RAFTKV_CHECK(status.ok(), status.ToString());
  EngineOptions options;
  options.path = path;
  options.block_cache_bytes = 8 << 20;
  auto engine = Engine::OpenReadOnly(options);
  RAFTKV_CHECK(engine.ok(), engine.status().ToString());
  return std::move(engine).value();
}

std::vector<std::string> ChunksOf(TestNode* node, uint64_t id, const Membership& membership) {
  const TempDir dir;
  auto source =
      SnapshotSource::Open(CheckpointOf(node, dir.path() + "/checkpoint"), membership, id);
  RAFTKV_CHECK(source.ok(), source.status().ToString());
  std::vector<std::string> chunks;
  for (std::string chunk;;) {
    const StatusOr<bool> more = (*source)->Next(&chunk);
    RAFTKV_CHECK(more.ok(), more.status().ToString());
    if (!*more) return chunks;
    chunks.push_back(chunk);
  }
}

uint64_t Stage(TestNode* node, const std::vector<std::string>& chunks) {
  const TempDir dir;
  SnapshotSink sink(dir.path(), std::nullopt);
  for (const std::string& chunk : chunks) {
    const Status status = sink.Add(chunk);
    RAFTKV_CHECK(status.ok(), status.ToString());
  }
  const auto tables = sink.Finish();
  RAFTKV_CHECK(tables.ok(), tables.status().ToString());
  const auto staged = node->engine().StageKv(*tables);
  RAFTKV_CHECK(staged.ok(), staged.status().ToString());
  // What the log writer does.
  const auto [key, record] = Engine::KvFamilyRecord(*staged);
  rocksdb::WriteOptions write;
  write.sync = true;
  const rocksdb::Status written =
      node->engine().db()->Put(write, node->engine().raft_meta(), key, record);
  RAFTKV_CHECK(written.ok(), written.ToString());
  return *staged;
}

int64_t HeaderRevision(const ApplyResult& result) {
  return std::visit(
      [](const auto& response) -> int64_t {
        if constexpr (std::is_same_v<std::decay_t<decltype(response)>, std::monostate>) {
          return 0;
        } else {
          return response.header().revision();
        }
      },
      result.response);
}

template <typename Message>
Message Proto(std::string_view text) {
  Message message;
  RAFTKV_CHECK(google::protobuf::TextFormat::ParseFromString(std::string(text), &message),
               "bad text: " + std::string(text));
  return message;
}

template etcdserverpb::RangeRequest Proto(std::string_view);
template etcdserverpb::PutRequest Proto(std::string_view);
template etcdserverpb::DeleteRangeRequest Proto(std::string_view);
template etcdserverpb::TxnRequest Proto(std::string_view);
template etcdserverpb::Member Proto(std::string_view);

}  // namespace raftkv::store
