#include "wal/manifest_check.h"

#include <optional>
#include <string_view>

#include "common/crc32c.h"
#include "store/wal_format.h"
#include "wal/manifest_file.h"

namespace raftkv::wal {
namespace {

using store::FindIntactWalChunk;
using store::kWalBlockBytes;
using store::kWalChunkHeaderBytes;
using store::WalChunk;
using store::WalChunkError;

std::string_view Block(std::string_view file, uint64_t base) {
  return file.substr(base, kWalBlockBytes);
}

// The offset of an intact chunk behind `offset`.
std::optional<uint64_t> FindBehind(std::string_view file, uint64_t offset, uint64_t number) {
  uint64_t base = offset - offset % kWalBlockBytes;
  size_t from = offset - base + 1;
  for (; base < file.size(); base += kWalBlockBytes, from = 0) {
    const std::string_view block = Block(file, base);
    if (from >= block.size()) continue;
    if (const auto found = FindIntactWalChunk(block, from, number)) return base + *found;
  }
  return std::nullopt;
}

// CRC-32C as it is stored: rotated and offset (RocksDB's util/crc32c.h).
uint32_t Masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

// Whether the checksum in the header of the chunk that `bytes` starts with is right for some other
// length or type: then its payload was written to the end, and its header is what is damaged.
bool IsCompleteUnderAnotherHeader(std::string_view bytes) {
  if (bytes.size() < kWalChunkHeaderBytes) return false;
  uint32_t stored = 0;
  for (int i = 3; i >= 0; --i) stored = (stored << 8) | static_cast<uint8_t>(bytes[i]);
  const std::string_view payload = bytes.substr(kWalChunkHeaderBytes);
  for (const char type : {1, 2, 3, 4}) {  // full, first, middle, last
    uint32_t crc = Crc32c(std::string_view(&type, 1));
    if (Masked(crc) == stored) return true;
    for (size_t i = 0; i < payload.size(); ++i) {
      crc = ExtendCrc32c(crc, payload.substr(i, 1));
      if (Masked(crc) == stored) return true;
    }
  }
  return false;
}

Status Damaged(const std::string& path, uint64_t offset, const std::string& why) {
  return Status(Code::kCorruption,
                "the list of the database's files, " + path + ", is damaged at offset " +
                    std::to_string(offset) + ": " + why +
                    ". RocksDB would open an older state as if it were whole: restore the "
                    "directory from a backup, or remove it and let the node join anew");
}

}  // namespace

Status CheckManifest(const std::string& db_path, rocksdb::Env* env) {
  const std::optional<ManifestFile> manifest = ReadManifest(db_path, env);
  if (!manifest) return Status::Ok();
  const std::string& path = manifest->path;
  const std::string_view bytes = manifest->bytes;
  const std::optional<ManifestStop> stop = WalkChunks(*manifest, [](const WalChunk&) {});
  if (!stop) return Status::Ok();
  if (const auto intact = FindBehind(bytes, stop->offset, manifest->number)) {
    return Damaged(path, stop->offset,
                   "intact records follow, the first at offset " + std::to_string(*intact));
  }
  if (stop->error == WalChunkError::kBadChecksum || stop->error == WalChunkError::kUnknownType) {
    return Damaged(path, stop->offset, "the last record's checksum does not match");
  }
  if (IsCompleteUnderAnotherHeader(bytes.substr(stop->offset))) {
    return Damaged(path, stop->offset, "the last record is whole, but its header is not");
  }
  return Status::Ok();
}

}  // namespace raftkv::wal
