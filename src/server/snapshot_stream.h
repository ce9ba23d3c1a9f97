// What the transfer of snapshots needs of the store. The chunks' content is the store's business:
// src/server/snapshot_store.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"
#include "common/types.h"
#include "raft/message.h"

namespace raftkv::server {

// Transfers in one direction, since the start.
struct TransferStats {
  uint64_t completed = 0;
  uint64_t failed = 0;
  uint64_t bytes = 0;  // of chunks, those of failed transfers and repeated ones too
  double seconds = 0;  // of completed transfers, pauses for the rate and reconnecting included
};

// A snapshot to send. Used by one thread at a time.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;

  virtual uint64_t id() const = 0;
  virtual LogPosition last() const = 0;  // what it stands for
  virtual uint64_t bytes_expected() const = 0;
  // The next chunk; false after the last one.
  virtual StatusOr<bool> Next(std::string* chunk) = 0;
  // Goes on with chunk `number`, which was read before or is the next.
  virtual Status Rewind(uint64_t number) = 0;
};

// A snapshot that comes in. Used by one thread.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;

  // kInvalidArgument: the chunk is damaged or not the right one; it was not taken, and the right
  // one may still come. Other errors end the transfer.
  virtual Status Add(std::string_view chunk) = 0;
  virtual uint64_t next_chunk() const = 0;
  virtual bool complete() const = 0;  // the last chunk was taken
  // Verifies the whole and stages it beside the state machine's data.
  virtual StatusOr<raft::SnapshotMeta> Finish() = 0;
};

// Makes a snapshot as of now. May take a while.
using OpenChunkSource = std::function<StatusOr<std::unique_ptr<ChunkSource>>()>;
// Takes snapshot `id` in; `directory` exists and is empty.
using OpenChunkSink =
    std::function<StatusOr<std::unique_ptr<ChunkSink>>(const std::string& directory, uint64_t id)>;

}  // namespace raftkv::server
