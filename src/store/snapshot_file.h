// A backup: a snapshot in one file.
//
//   "RAFTKVSN"                      8 bytes
//   u32 length, then a chunk        for every chunk; little-endian; the trailer is the last one
//   u32 0, zero bytes               up to a multiple of 512
//   SHA-256 of everything before    32 bytes
//
// The padding and the digest at the end are etcd's: its clients, which save what
// Maintenance.Snapshot streams without looking into it, check for them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"

namespace raftkv::store {

// The whole file in pieces, to `write`, which may refuse with an error that is then returned.
Status WriteSnapshotFile(SnapshotSource* source,
                         const std::function<Status(std::string_view)>& write);

struct SnapshotFileInfo {
  SnapshotHeader header;
  uint64_t records = 0;
  uint64_t keys = 0;  // live keys at the snapshot's revision
  uint64_t bytes = 0;
  std::string digest;  // SHA-256, raw
};

// Reads and checks all of a file. Where `sink` is given, its chunks go there (Finish is the
// caller's to call). kCorruption with the offset when it is damaged or cut off.
StatusOr<SnapshotFileInfo> ReadSnapshotFile(const std::string& path, SnapshotSink* sink);

}  // namespace raftkv::store
