// Takes a snapshot in, chunk by chunk, checks all of it, and makes sorted tables that
// Engine::StageKv can take.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/env.h>

#include "common/status.h"
#include "store/snapshot_format.h"

namespace raftkv::store {

// Not thread-safe. Nothing outside `directory` is touched; the caller removes it when it is done or
// has failed. Memory is bounded by one chunk and a table's index.
class SnapshotSink {
 public:
  // What becomes of a record: false to leave it out; may set `replacement`, which must be a whole
  // record. What is checked is what came.
  using Filter = std::function<bool(std::string_view key, std::string_view record,
                                    std::optional<std::string>* replacement)>;

  // `directory` must exist and be empty. With `id` chunks of other snapshots are refused; without,
  // the first chunk says which it is (a file). `env` is as in EngineOptions.
  SnapshotSink(std::string directory, std::optional<uint64_t> id, Filter filter = nullptr,
               rocksdb::Env* env = nullptr);
  ~SnapshotSink();

  // The chunk must be the one numbered next_chunk(). kInvalidArgument, with what is wrong, for one
  // that is damaged, out of turn, or of another snapshot: it is not taken, and the right one may
  // still come. kFailedPrecondition for a newer version. kIoError when it can't be written.
  Status Add(std::string_view chunk);
  uint64_t next_chunk() const;
  bool has_trailer() const;
  // Once chunk 0 was taken. Its applied record is the one that came, whatever the filter makes of
  // it.
  const SnapshotHeader& header() const;
  uint64_t bytes() const;

  // Everything came and agrees with the trailer: the tables, in order of their keys, synced.
  // kCorruption when not.
  StatusOr<std::vector<std::string>> Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace raftkv::store
