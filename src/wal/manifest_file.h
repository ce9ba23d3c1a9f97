// RocksDB's MANIFEST, its list of the database's files: which file that is, and its chunks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <rocksdb/env.h>

#include "store/wal_format.h"

namespace raftkv::wal {

struct ManifestFile {
  std::string name;  // MANIFEST-000005
  std::string path;
  std::string bytes;  // all of it
  uint64_t number = 0;
};

// The one that CURRENT names; nothing when CURRENT or that file can't be read.
std::optional<ManifestFile> ReadManifest(const std::string& db_path, rocksdb::Env* env = nullptr);

// Where reading ended.
struct ManifestStop {
  uint64_t offset = 0;  // of the chunk that is not good
  store::WalChunkError error = store::WalChunkError::kNone;
};

// Calls `take` with the chunks in order, until one is damaged; nothing when every byte is accounted
// for.
std::optional<ManifestStop> WalkChunks(const ManifestFile& manifest,
                                       const std::function<void(const store::WalChunk&)>& take);

}  // namespace raftkv::wal
