#include "server/snapshot_store.h"

#include <random>
#include <utility>

#include "store/engine_files.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"
#include "wal/log_store.h"

namespace raftkv::server {
namespace {

// Removes the checkpoint, and with it the hard links that keep deleted files alive.
class Source : public ChunkSource {
 public:
  Source(std::string path, std::unique_ptr<store::SnapshotSource> source)
      : path_(std::move(path)), source_(std::move(source)) {}
  ~Source() override {
    source_.reset();
    (void)store::RemoveTree(path_);  // the next checkpoint tries again
  }

  uint64_t id() const override { return source_->header().id; }
  LogPosition last() const override { return source_->header().applied.position; }
  uint64_t bytes_expected() const override { return source_->header().bytes_expected; }
  StatusOr<bool> Next(std::string* chunk) override { return source_->Next(chunk); }
  Status Rewind(uint64_t number) override { return source_->Rewind(number); }

 private:
  const std::string path_;
  std::unique_ptr<store::SnapshotSource> source_;
};

class Sink : public ChunkSink {
 public:
  Sink(store::Engine* engine, const std::string& directory, uint64_t id)
      : engine_(engine), sink_(directory, id) {}

  Status Add(std::string_view chunk) override {
    const bool first = sink_.next_chunk() == 0;
    RAFTKV_RETURN_IF_ERROR(sink_.Add(chunk));
    if (first && sink_.header().cluster != engine_->identity().cluster) {
      return {Code::kFailedPrecondition, "the snapshot is of another cluster"};
    }
    return Status::Ok();
  }
  uint64_t next_chunk() const override { return sink_.next_chunk(); }
  bool complete() const override { return sink_.has_trailer(); }
  StatusOr<raft::SnapshotMeta> Finish() override {
    RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> tables, sink_.Finish());
    RAFTKV_ASSIGN_OR_RETURN(const uint64_t id, engine_->StageKv(tables));
    return raft::SnapshotMeta{sink_.header().applied.position, sink_.header().membership, id};
  }

 private:
  store::Engine* const engine_;
  store::SnapshotSink sink_;
};

StatusOr<std::unique_ptr<ChunkSource>> MakeSource(store::Engine* engine, const std::string& path) {
  RAFTKV_RETURN_IF_ERROR(store::RemoveTree(path));
  RAFTKV_RETURN_IF_ERROR(engine->MakeCheckpoint(path));
  std::random_device device;
  const uint64_t id = (static_cast<uint64_t>(device()) << 32) | device() | 1;
  RAFTKV_ASSIGN_OR_RETURN(auto source, OpenCheckpointSource(path, id));
  return std::unique_ptr<ChunkSource>(std::make_unique<Source>(path, std::move(source)));
}

}  // namespace

StatusOr<std::unique_ptr<store::SnapshotSource>> OpenCheckpointSource(const std::string& path,
                                                                      uint64_t id) {
  store::EngineOptions options;
  options.path = path;
  options.block_cache_bytes = 8 << 20;  // it is read once, in order
  // The log may have been written to while its file was linked: a cut-off write at its end is no
  // damage here, and what the applied state holds does not depend on it.
  options.wal_recovery = store::WalRecovery::kTornTail;
  RAFTKV_ASSIGN_OR_RETURN(auto checkpoint, store::Engine::OpenReadOnly(options));
  // In force where no configuration entry was ever applied: then none was cut off the log either,
  // and its start still has the first configuration.
  RAFTKV_ASSIGN_OR_RETURN(const Membership base, wal::LogStore(checkpoint.get()).BaseMembership());
  return store::SnapshotSource::Open(std::move(checkpoint), base, id);
}

OpenChunkSource StoreChunkSource(store::Engine* engine, std::string directory) {
  return [engine, path = std::move(directory)]() -> StatusOr<std::unique_ptr<ChunkSource>> {
    auto source = MakeSource(engine, path);
    if (!source.ok()) (void)store::RemoveTree(path);
    return source;
  };
}

OpenChunkSink StoreChunkSink(store::Engine* engine) {
  return
      [engine](const std::string& directory, uint64_t id) -> StatusOr<std::unique_ptr<ChunkSink>> {
        return std::unique_ptr<ChunkSink>(std::make_unique<Sink>(engine, directory, id));
      };
}

}  // namespace raftkv::server
