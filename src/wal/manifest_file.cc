#include "wal/manifest_file.h"

#include <charconv>

namespace raftkv::wal {
namespace {

using store::kWalBlockBytes;
using store::kWalChunkHeaderBytes;
using store::ReadWalChunk;
using store::WalChunk;
using store::WalChunkError;

constexpr std::string_view kPrefix = "MANIFEST-";

std::optional<std::string> ReadWhole(const std::string& path, rocksdb::Env* env) {
  std::string bytes;
  if (!rocksdb::ReadFileToString(env, path, &bytes).ok()) return std::nullopt;
  return bytes;
}

}  // namespace

std::optional<ManifestFile> ReadManifest(const std::string& db_path, rocksdb::Env* env) {
  if (env == nullptr) env = rocksdb::Env::Default();
  const std::optional<std::string> current = ReadWhole(db_path + "/CURRENT", env);
  if (!current || !current->starts_with(kPrefix) || !current->ends_with('\n')) return std::nullopt;
  ManifestFile manifest;
  manifest.name = current->substr(0, current->size() - 1);
  manifest.path = db_path + "/" + manifest.name;
  std::from_chars(manifest.name.data() + kPrefix.size(),
                  manifest.name.data() + manifest.name.size(), manifest.number);
  std::optional<std::string> bytes = ReadWhole(manifest.path, env);
  if (!bytes) return std::nullopt;
  manifest.bytes = *std::move(bytes);
  return manifest;
}

std::optional<ManifestStop> WalkChunks(const ManifestFile& manifest,
                                       const std::function<void(const WalChunk&)>& take) {
  const std::string_view file = manifest.bytes;
  for (uint64_t base = 0; base < file.size(); base += kWalBlockBytes) {
    const std::string_view block = file.substr(base, kWalBlockBytes);
    for (size_t offset = 0; offset < block.size();) {
      const bool whole = block.size() == kWalBlockBytes;
      if (whole && block.size() - offset < kWalChunkHeaderBytes) break;  // the trailer
      const WalChunk chunk = ReadWalChunk(block, offset, manifest.number);
      if (chunk.error != WalChunkError::kNone) return ManifestStop{base + offset, chunk.error};
      take(chunk);
      offset += chunk.bytes;
    }
  }
  return std::nullopt;
}

}  // namespace raftkv::wal
