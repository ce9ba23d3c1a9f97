// Every RocksDB option this project sets, and why.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>

#include "store/engine.h"

namespace raftkv::store {

// Names of the column families. On disk: never change them.
inline constexpr char kRaftMetaFamily[] = "raft_meta";
inline constexpr char kRaftLogFamily[] = "raft_log";
inline constexpr char kKvFamily[] = "kv";  // or KvFamilyName of an id

// The name of the applied state's family after a snapshot took its place: "kv.7" for 7. The id 0
// stands for "kv" itself.
std::string KvFamilyName(uint64_t id);
// The id in such a name; nothing when it is no such name.
std::optional<uint64_t> ParseKvFamilyName(std::string_view name);

// For the whole database. Never creates: Bootstrap alone turns that on.
rocksdb::DBOptions DatabaseOptions(const EngineOptions& options);

// Of block_cache_bytes, what is not RocksDB's: the newest versions of keys (newest_versions.h).
uint64_t NewestVersionsBytes(const EngineOptions& options);

// One family each. `cache` is shared by all three, so that one number bounds the memory of blocks,
// indexes and filters. Comparators are RocksDB's own, so that ldb and read-only opening work
// without our code; a prefix extractor for kv belongs in KvFamilyOptions (a program without it
// still reads the files, it only goes without the filter).
rocksdb::ColumnFamilyOptions RaftMetaFamilyOptions(const EngineOptions& options,
                                                   const std::shared_ptr<rocksdb::Cache>& cache);
rocksdb::ColumnFamilyOptions RaftLogFamilyOptions(const EngineOptions& options,
                                                  const std::shared_ptr<rocksdb::Cache>& cache);
rocksdb::ColumnFamilyOptions KvFamilyOptions(const EngineOptions& options,
                                             const std::shared_ptr<rocksdb::Cache>& cache);

// All of them in the order Engine expects: RocksDB's obligatory "default" (unused), raft_meta,
// raft_log, and those called `kv_families`.
std::vector<rocksdb::ColumnFamilyDescriptor> ColumnFamilies(
    const EngineOptions& options, const std::vector<std::string>& kv_families);

// With which rocksdb::SstFileWriter makes tables for Engine::StageKv: of the same form as those
// that kv's own compactions make at the bottom. `env` is as in EngineOptions.
rocksdb::Options StagedTableOptions(rocksdb::Env* env = nullptr);

}  // namespace raftkv::store
