#include "wal/manifest_file.h"

#include <charconv>
#include <fstream>
#include <iterator>

namespace raftkv::wal {
namespace {

constexpr std::string_view kPrefix = "MANIFEST-";

std::optional<std::string> ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return std::nullopt;
  return bytes;
}

}  // namespace

std::optional<ManifestFile> ReadManifest(const std::string& db_path) {
  const std::optional<std::string> current = ReadWhole(db_path + "/CURRENT");
  if (!current || !current->starts_with(kPrefix) || !current->ends_with('\n')) return std::nullopt;
  ManifestFile manifest;
  manifest.name = current->substr(0, current->size() - 1);
  manifest.path = db_path + "/" + manifest.name;
  std::from_chars(manifest.name.data() + kPrefix.size(),
                  manifest.name.data() + manifest.name.size(), manifest.number);
  std::optional<std::string> bytes = ReadWhole(manifest.path);
  if (!bytes) return std::nullopt;
  manifest.bytes = *std::move(bytes);
  return manifest;
}

std::optional<ManifestStop> WalkChunks(const ManifestFile& manifest,
                                       const std::function<void(const Chunk&)>& take) {
  const std::string_view file = manifest.bytes;
  for (uint64_t base = 0; base < file.size(); base += kWalBlockBytes) {
    const std::string_view block = file.substr(base, kWalBlockBytes);
    for (size_t offset = 0; offset < block.size();) {
      const bool whole = block.size() == kWalBlockBytes;
      if (whole && block.size() - offset < kChunkHeaderBytes) break;  // the trailer
      const Chunk chunk = ReadChunk(block, offset, manifest.number);
      if (chunk.error != ChunkError::kNone) return ManifestStop{base + offset, chunk.error};
      take(chunk);
      offset += chunk.bytes;
    }
  }
  return std::nullopt;
}

}  // namespace raftkv::wal
