// Reads a snapshot off a checkpoint of the database, chunk by chunk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "store/engine.h"
#include "store/snapshot_format.h"

namespace raftkv::store {

// Not thread-safe. Holds one chunk in memory, and eight bytes and a key for each chunk read.
class SnapshotSource {
 public:
  // `checkpoint` is an engine opened read-only on what Engine::MakeCheckpoint made. `membership` is
  // what is in force where the applied state has none of its own (no configuration entry was ever
  // applied): the log's start, from the same checkpoint.
  static StatusOr<std::unique_ptr<SnapshotSource>> Open(std::unique_ptr<Engine> checkpoint,
                                                        const Membership& membership, uint64_t id);
  ~SnapshotSource();

  const SnapshotHeader& header() const { return header_; }

  // The next chunk goes to `chunk`; false when the trailer was the last one read. kCorruption for a
  // record that fails its checksum: such a snapshot must not be sent.
  StatusOr<bool> Next(std::string* chunk);
  // Goes on with chunk `number`, which must have been read before (or be the next): the same bytes
  // come again. For a connection that broke.
  Status Rewind(uint64_t number);
  uint64_t next_chunk() const { return next_chunk_; }

 private:
  class Impl;
  explicit SnapshotSource(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
  SnapshotHeader header_;
  uint64_t next_chunk_ = 0;
};

}  // namespace raftkv::store
