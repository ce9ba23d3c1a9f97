// A store on a real RocksDB in a temporary directory, with a log that feeds it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/membership.h"
#include "common/types.h"
#include "rpc.pb.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/kv_store.h"

namespace raftkv::store {

// A directory that is removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Builds commands as a node does.
Entry MakeEntry(Index index, CommandType type, const google::protobuf::MessageLite& request,
                const SessionRef& session = {}, uint64_t time_ms = 0);

Entry MakeRawEntry(Index index, CommandType type, std::string_view body, const SessionRef& session,
                   uint64_t time_ms);

// One node's applied state and the log it came from. Keeps every entry, so that a restart can
// replay what was not flushed.
class TestNode {
 public:
  // `adjust` may change how the engine is opened, every time.
  using AdjustEngine = EngineOptions (*)(EngineOptions);
  explicit TestNode(AdjustEngine adjust = nullptr);

  const std::string& directory() const { return dir_.path(); }
  KvStore& store() { return *store_; }
  Engine& engine() { return *engine_; }

  // Appends an entry to the log without applying it.
  Index Append(CommandType type, const google::protobuf::MessageLite& request,
               const SessionRef& session = {}, uint64_t time_ms = 0);
  Index AppendSessionLimits(const SessionLimits& limits);
  Index AppendNoop();
  Index AppendConfig(const Membership& membership);
  // Applies what was appended and not applied, in batches of `batch` (0: all in one).
  std::vector<ApplyResult> ApplyPending(size_t batch = 0, bool awaited = true);

  // Append and apply one.
  ApplyResult Apply(CommandType type, const google::protobuf::MessageLite& request,
                    const SessionRef& session = {}, uint64_t time_ms = 0, bool awaited = true);
  ApplyResult Put(const std::string& key, const std::string& value);
  ApplyResult Delete(const std::string& key, const std::string& end = "");
  ApplyResult Compact(int64_t revision);
  void SetSessionLimits(const SessionLimits& limits);
  StatusOr<etcdserverpb::RangeResponse> Get(const std::string& key, int64_t revision = 0) const;
  StatusOr<etcdserverpb::RangeResponse> GetRange(const std::string& key, const std::string& end,
                                                 int64_t revision = 0) const;
  // Compacts until nothing remains, in steps of `step`.
  void CompactAll(size_t step = 3);

  // Closes without a flush: what a crash leaves. Then opens, without replaying.
  void Crash();
  // Flushes, closes, opens.
  void Restart();
  // Applies the log from the applied position on, with nobody waiting, as a node does.
  void Replay(size_t batch = 0);
  Status TryOpen();
  void Close();

  const std::vector<Entry>& log() const { return log_; }
  uint64_t last_index() const { return log_.size(); }

  // All of kv, as bytes. Without what may differ between replicas: see LogicalContent.
  std::map<std::string, std::string> RawContent();
  // The same with the applied record's local part cleared.
  std::map<std::string, std::string> LogicalContent();
  // How many keys of a kind (mvcc.h) kv holds.
  size_t CountKind(char kind);
  void WriteRaw(const std::string& key, const std::optional<std::string>& value);

 private:
  void MustOpen();
  EngineOptions OpenOptions() const;

  TempDir dir_;
  AdjustEngine adjust_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<KvStore> store_;
  std::vector<Entry> log_;
};

etcdserverpb::PutRequest PutOf(const std::string& key, const std::string& value);
etcdserverpb::DeleteRangeRequest DeleteOf(const std::string& key, const std::string& end = "");

// A checkpoint of `node` as of now, opened, in `path`.
std::unique_ptr<Engine> CheckpointOf(TestNode* node, const std::string& path);

// All chunks of a snapshot of `node` with the id `id`.
std::vector<std::string> ChunksOf(TestNode* node, uint64_t id, const Membership& membership = {});

// Takes the chunks in and stages them in `node`.
uint64_t Stage(TestNode* node, const std::vector<std::string>& chunks);

// The revision of whatever response there is; 0 if none.
int64_t HeaderRevision(const ApplyResult& result);

// Parses protobuf text format; aborts if it is wrong.
template <typename Message>
Message Proto(std::string_view text);

}  // namespace raftkv::store
