#include "store/snapshot_format.h"

#include "common/coding.h"
#include "common/crc32c.h"
#include "common/membership_codec.h"
#include "store/mvcc.h"
#include "store/sha256.h"

namespace raftkv::store {
namespace {

constexpr size_t kCrcBytes = 4;
constexpr size_t kChunkHeaderBytes = 13;

Status Bad(const std::string& what) { return {Code::kInvalidArgument, "snapshot: " + what}; }

uint32_t Checksum(uint64_t id, std::string_view behind_crc) {
  std::string id_bytes;
  AppendLittleEndian64(&id_bytes, id);
  return ExtendCrc32c(Crc32c(id_bytes), behind_crc);
}

}  // namespace

std::string EncodeChunk(uint64_t id, uint64_t number, ChunkKind kind, std::string_view body) {
  std::string out;
  out.reserve(kChunkHeaderBytes + body.size());
  out.append(kCrcBytes, '\0');
  AppendLittleEndian64(&out, number);
  out.push_back(static_cast<char>(kind));
  out.append(body);
  std::string crc;
  AppendLittleEndian32(&crc, Checksum(id, std::string_view(out).substr(kCrcBytes)));
  out.replace(0, kCrcBytes, crc);
  return out;
}

StatusOr<Chunk> DecodeChunk(uint64_t id, std::string_view chunk) {
  std::string_view in = chunk;
  uint32_t crc = 0;
  if (chunk.size() < kChunkHeaderBytes || !ConsumeLittleEndian32(&in, &crc)) {
    return Bad("a chunk is cut off");
  }
  if (chunk.size() > kSnapshotChunkBytesMax) return Bad("a chunk is too large");
  if (crc != Checksum(id, in)) {
    return Bad("a chunk's checksum is wrong: it is damaged, or of another snapshot");
  }
  Chunk out;
  uint8_t kind = 0;
  if (!ConsumeLittleEndian64(&in, &out.number) || !ConsumeByte(&in, &kind) ||
      kind < static_cast<uint8_t>(ChunkKind::kHeader) ||
      kind > static_cast<uint8_t>(ChunkKind::kTrailer)) {
    return Bad("a chunk of kind " + std::to_string(kind) + ", which this program does not know");
  }
  out.kind = static_cast<ChunkKind>(kind);
  out.body = in;
  return out;
}

StatusOr<uint64_t> PeekSnapshotId(std::string_view chunk) {
  uint32_t version = 0;
  uint64_t id = 0;
  if (chunk.size() < kChunkHeaderBytes) return Bad("the header is cut off");
  chunk.remove_prefix(kChunkHeaderBytes);
  if (!ConsumeLittleEndian32(&chunk, &version) || !ConsumeLittleEndian64(&chunk, &id)) {
    return Bad("the header is cut off");
  }
  return id;
}

std::string EncodeSnapshotHeader(const SnapshotHeader& header) {
  std::string out;
  AppendLittleEndian32(&out, header.version);
  AppendLittleEndian64(&out, header.id);
  AppendLittleEndian64(&out, header.cluster.value());
  AppendLengthPrefixed(&out, EncodeAppliedRecord(header.applied));
  AppendLengthPrefixed(&out, EncodeMembership(header.membership));
  AppendLittleEndian64(&out, header.bytes_expected);
  return out;
}

StatusOr<SnapshotHeader> DecodeSnapshotHeader(std::string_view body) {
  SnapshotHeader header;
  uint64_t cluster = 0;
  if (!ConsumeLittleEndian32(&body, &header.version)) return Bad("the header is cut off");
  if (header.version != kSnapshotVersion) {
    return Status(Code::kFailedPrecondition,
                  "snapshot: format version " + std::to_string(header.version) +
                      " is not known to this program, which knows " +
                      std::to_string(kSnapshotVersion) + ": use a newer one");
  }
  std::string_view applied;
  std::string_view membership;
  if (!ConsumeLittleEndian64(&body, &header.id) || !ConsumeLittleEndian64(&body, &cluster) ||
      !ConsumeLengthPrefixed(&body, &applied) || !ConsumeLengthPrefixed(&body, &membership) ||
      !ConsumeLittleEndian64(&body, &header.bytes_expected) || !body.empty()) {
    return Bad("the header is malformed");
  }
  header.cluster = ClusterId(cluster);
  StatusOr<AppliedRecord> record = DecodeAppliedRecord(applied);
  if (!record.ok()) return Bad("the header's applied record: " + record.status().message());
  header.applied = *record;
  StatusOr<Membership> members = DecodeMembership(membership);
  if (!members.ok()) return Bad("the header's membership: " + members.status().message());
  header.membership = std::move(members).value();
  return header;
}

std::string EncodeSnapshotTrailer(const SnapshotTrailer& trailer) {
  std::string out;
  AppendLittleEndian64(&out, trailer.chunks);
  AppendLittleEndian64(&out, trailer.records);
  out.append(trailer.digest);
  return out;
}

StatusOr<SnapshotTrailer> DecodeSnapshotTrailer(std::string_view body) {
  SnapshotTrailer trailer;
  if (!ConsumeLittleEndian64(&body, &trailer.chunks) ||
      !ConsumeLittleEndian64(&body, &trailer.records) || body.size() != kSha256Bytes) {
    return Bad("the trailer is malformed");
  }
  trailer.digest = std::string(body);
  return trailer;
}

}  // namespace raftkv::store
