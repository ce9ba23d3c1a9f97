#include "store/engine_options.h"

#include <algorithm>
#include <thread>

#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include "store/kv_prefix.h"
#include "store/wal_file_system.h"

namespace raftkv::store {
namespace {

rocksdb::WALRecoveryMode RecoveryMode(WalRecovery recovery) {
  switch (recovery) {
    case WalRecovery::kClean:
      // The scanner has accounted for every byte, so an error while replaying is damage that
      // happened since, or a bug: refuse.
      return rocksdb::WALRecoveryMode::kAbsoluteConsistency;
    case WalRecovery::kTornTail:
      return rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  }
  return rocksdb::WALRecoveryMode::kAbsoluteConsistency;
}

void SetDurability(const EngineOptions& options, rocksdb::DBOptions* db) {
  db->wal_recovery_mode = RecoveryMode(options.wal_recovery);
  // Replayed records go into tables before Open returns, so that the old WAL files are gone by the
  // time anything new is acknowledged. Engine::Open checks it after a torn tail.
  db->avoid_flush_during_recovery = false;
  // Closing is no act of durability: FlushKv and FlushAll are.
  db->avoid_flush_during_shutdown = true;
  // Atomic flushes would write the log out with every flush of kv. The order we need, log before
  // applied state, holds without: a flush first syncs the closed WAL files.
  db->atomic_flush = false;
  // A recycled file ends in valid-looking records of its former life, which the scanner would have
  // to tell from lost ones.
  db->recycle_log_file_num = 0;
  // With SyncWAL, 7.8 can falsely report a missing WAL file (fixed in 7.10).
  db->track_and_verify_wals_in_manifest = false;
  db->manual_wal_flush = false;
  db->wal_compression = rocksdb::kNoCompression;
  // fdatasync: the file's size and blocks are synced with it, its times need not be.
  db->use_fsync = false;
  // The log writer syncs each batch, so there is nothing to smooth.
  db->wal_bytes_per_sync = 0;
  // Blocks of the WAL are allocated ahead (without changing the file's size), so that they lie
  // together. That a sync need not write the file system's maps takes more (wal_file_system.h).
  db->allow_fallocate = true;
  // Checksums on everything read, and a read error or failed flush stops all writing.
  db->paranoid_checks = true;
  // After a failed sync nobody knows what is on the disk: the process ends, it does not resume.
  db->max_bgerror_resume_count = 0;
}

void SetResources(const EngineOptions& options, rocksdb::DBOptions* db) {
  // An unflushed kv memtable pins every WAL file since its first write though none of its data is
  // in them; past this size RocksDB flushes what pins the oldest.
  db->max_total_wal_size = options.wal_bytes_max;
  db->max_background_jobs =
      static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 2u, 8u));
  // Bounds file descriptors and table readers: -1 would keep one open for every table there is.
  db->max_open_files = 1024;
  // Write tables out as they are made, not in one burst that would delay the log's syncs.
  db->bytes_per_sync = 1 << 20;
  // Compactions read in large pieces; the default of 7.8 is to read block by block.
  db->compaction_readahead_size = 2 << 20;
  // Whoever lets go of a family that was replaced last, a reader perhaps, does not delete its files
  // itself: a background thread does.
  db->avoid_unnecessary_blocking_io = true;
  // Sampling every table's statistics at open costs a read per table; compaction does without.
  db->skip_stats_update_on_db_open = true;
  db->stats_persist_period_sec = 0;
  // The manifest is read twice at each start; RocksDB starts a new one past this size. That holds
  // more than the tables of a terabyte need: no change of the tables may pass it by itself.
  db->max_manifest_file_size = 16 << 20;
}

// Common to the three. The values of small families are overridden by the callers.
rocksdb::BlockBasedTableOptions TableOptions(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = 16 << 10;
  // table_file_system.cc refuses tables of another format or checksum.
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  // Indexes and filters live in the bounded cache, in pieces: memory does not grow with the number
  // of keys, and a miss reads 4 KiB instead of a whole table's filter.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.pin_top_level_index_and_filter = true;
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.metadata_block_size = 4096;
  return table;
}

}  // namespace

rocksdb::DBOptions DatabaseOptions(const EngineOptions& options) {
  rocksdb::DBOptions db;
  db.env = options.env != nullptr ? options.env : DefaultEnv();
  // With CURRENT lost, a second try with create_if_missing succeeded, on an empty database.
  db.create_if_missing = false;
  db.create_missing_column_families = false;
  SetDurability(options, &db);
  SetResources(options, &db);
  return db;
}

uint64_t NewestVersionsBytes(const EngineOptions& options) { return options.block_cache_bytes / 8; }

rocksdb::ColumnFamilyOptions RaftMetaFamilyOptions(const EngineOptions&,
                                                   const std::shared_ptr<rocksdb::Cache>& cache) {
  // A handful of records, one of them overwritten by every vote and now and then for the commit
  // hint.
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = 4 << 20;
  family.num_levels = 2;
  family.compression = rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table = TableOptions(cache);
  table.index_type = rocksdb::BlockBasedTableOptions::kBinarySearch;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

rocksdb::ColumnFamilyOptions RaftLogFamilyOptions(const EngineOptions& options,
                                                  const std::shared_ptr<rocksdb::Cache>& cache) {
  // Written in ascending order, cut from the front, read in stretches: tables do not overlap, so
  // that moving one down a level is a manifest entry, and few levels are enough. No filter: nobody
  // asks for an index that is not there.
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = options.log_memtable_bytes;
  family.max_write_buffer_number = 3;
  family.num_levels = 4;
  family.compression = rocksdb::kLZ4Compression;
  family.level0_file_num_compaction_trigger = 8;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(TableOptions(cache)));
  return family;
}

rocksdb::ColumnFamilyOptions KvFamilyOptions(const EngineOptions& options,
                                             const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = options.kv_memtable_bytes;
  family.max_write_buffer_number = 3;
  // Levels sized from the bottom up keep the space overhead near 10% whatever the data's size.
  family.level_compaction_dynamic_level_bytes = true;
  family.max_bytes_for_level_base = 4 * options.kv_memtable_bytes;
  // Flushes that bound the replay make small tables: the level below is rewritten once for several
  // of them. A read asks their filters, which are pinned.
  family.level0_file_num_compaction_trigger = 10;
  family.level0_slowdown_writes_trigger = 30;
  family.level0_stop_writes_trigger = 48;
  family.target_file_size_base = 64 << 20;
  // Cheap on the way down, tight at the bottom where nine tenths of the data rest.
  family.compression = rocksdb::kLZ4Compression;
  family.bottommost_compression = rocksdb::kZSTD;
  rocksdb::BlockBasedTableOptions table = TableOptions(cache);
  // A put reads one block for one key where the cache does not have it: in a smaller one less is
  // read, checked and kept that nobody asked for. 4 KiB was no better than 8.
  table.block_size = 8 << 10;
  // One filter entry per user key, not per version (kv_prefix.h): a put of a new key looks at no
  // data block. Whole keys are never asked for. Not partitioned: in 7.8 partitioned filters without
  // whole keys can miss data in backward seeks (rocksdb PR 12872, fixed in 9.5), and a missed
  // version would make this replica differ from the others.
  family.prefix_extractor.reset(NewKvPrefixTransform());
  family.memtable_prefix_bloom_size_ratio = 0.05;
  family.memtable_insert_with_hint_prefix_extractor.reset(NewKvInsertHintTransform());
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = false;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

std::vector<rocksdb::ColumnFamilyDescriptor> ColumnFamilies(
    const EngineOptions& options, const std::vector<std::string>& kv_families) {
  // Half of the cache is kept for indexes and filters: scans do not push them out.
  const std::shared_ptr<rocksdb::Cache> cache = rocksdb::NewLRUCache(
      options.block_cache_bytes - NewestVersionsBytes(options), -1, false, 0.5);
  rocksdb::ColumnFamilyOptions unused;
  rocksdb::BlockBasedTableOptions no_cache;
  no_cache.no_block_cache = true;  // or it would get a cache of its own
  unused.table_factory.reset(rocksdb::NewBlockBasedTableFactory(no_cache));
  std::vector<rocksdb::ColumnFamilyDescriptor> families{
      {rocksdb::kDefaultColumnFamilyName, unused},
      {kRaftMetaFamily, RaftMetaFamilyOptions(options, cache)},
      {kRaftLogFamily, RaftLogFamilyOptions(options, cache)}};
  const rocksdb::ColumnFamilyOptions kv = KvFamilyOptions(options, cache);
  for (const std::string& name : kv_families) families.emplace_back(name, kv);
  return families;
}

rocksdb::Options StagedTableOptions(rocksdb::Env* env) {
  EngineOptions unused;
  unused.env = env;
  // The writer of a table reads none: a cache of no size is all it needs.
  return rocksdb::Options(DatabaseOptions(unused),
                          KvFamilyOptions(unused, rocksdb::NewLRUCache(0)));
}

}  // namespace raftkv::store
