// A snapshot of the applied state as a sequence of chunks: what one node sends to another, and what
// a backup file holds (docs/on-disk-format.md).
//
// It is logical: the records of the kv column family in key order, each with the checksum it has on
// disk, whatever tables they lie in. Chunk 0 is the header, the last one the trailer; both are
// chunks like the others, so that one rule checks them all:
//
//   0   u32  CRC-32C, little-endian, of: the snapshot's id (8 bytes), and everything from byte 4 on
//   4   u64  number of the chunk, from 0
//   12  u8   kind: 1 header, 2 records, 3 trailer
//   13  ...  body
//
// The id is in the checksum, so that a chunk of another snapshot is found out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"
#include "store/applied_record.h"

namespace raftkv::store {

inline constexpr uint32_t kSnapshotVersion = 1;

// Chunks of records are closed once they pass this many bytes; a single record may make one larger.
inline constexpr size_t kSnapshotChunkBytes = 1 << 20;

// The header: what the snapshot stands for.
struct SnapshotHeader {
  uint32_t version = kSnapshotVersion;
  uint64_t id = 0;  // random: names this snapshot
  ClusterId cluster;
  AppliedRecord applied;
  Membership membership;        // as of applied.position
  uint64_t bytes_expected = 0;  // of all chunks, a guess for progress bars

  bool operator==(const SnapshotHeader&) const = default;
};

// The trailer: what must have come, for it to be whole.
struct SnapshotTrailer {
  uint64_t chunks = 0;  // before the trailer, the header among them
  uint64_t records = 0;
  std::string digest;  // SHA-256 of all chunks before the trailer, as they were sent

  bool operator==(const SnapshotTrailer&) const = default;
};

enum class ChunkKind : uint8_t { kHeader = 1, kRecords = 2, kTrailer = 3 };

// No chunk is larger: a record is bounded by what one request may hold.
inline constexpr size_t kSnapshotChunkBytesMax = 64 << 20;

std::string EncodeChunk(uint64_t id, uint64_t number, ChunkKind kind, std::string_view body);

struct Chunk {
  uint64_t number = 0;
  ChunkKind kind = ChunkKind::kHeader;
  std::string_view body;  // points into the chunk
};

// kInvalidArgument when it is damaged or of another snapshot than `id`.
StatusOr<Chunk> DecodeChunk(uint64_t id, std::string_view chunk);
// The id that a header chunk says it is of, unchecked; DecodeChunk with it tells whether it's
// right.
StatusOr<uint64_t> PeekSnapshotId(std::string_view chunk);

// Bodies. Header: u32 version, u64 id, u64 cluster, varint length and the applied record as it is
// in kv, varint length and the membership (common/membership_codec.h), u64 bytes expected. Records:
// for each, varint length and key, varint length and record. Trailer: u64 chunks, u64 records, the
// digest (32 bytes). Integers are little-endian.
//
// Decoders return kInvalidArgument for what is malformed; that of the header kFailedPrecondition
// for a newer version.
std::string EncodeSnapshotHeader(const SnapshotHeader& header);
StatusOr<SnapshotHeader> DecodeSnapshotHeader(std::string_view body);
std::string EncodeSnapshotTrailer(const SnapshotTrailer& trailer);
StatusOr<SnapshotTrailer> DecodeSnapshotTrailer(std::string_view body);

}  // namespace raftkv::store
