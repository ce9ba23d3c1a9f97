// Removes the versions that the compact revision made unreachable, in bounded steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include "store/applied_record.h"
#include "store/engine.h"
#include "store/mvcc.h"

namespace raftkv::store {

// Owned by the apply thread.
//
// A walk through the revision index from where the last one ended up to the compact revision. A
// change at or below the compact revision makes the version it replaced unreachable: every read is
// at the compact revision or above, where the change hides that version. The index names the
// version replaced, so nothing else is read. A tombstone below the compact revision goes with its
// own entry: nothing older is left for it to hide, since the version it replaced goes in the same
// batch, and those before went earlier. At the compact revision itself it stays until the next
// compaction, for a watch that starts there.
//
// Removal is by point deletes. A range delete for each key would be one tombstone where we write
// one for each version, but RocksDB 7.8 puts range tombstones of a memtable in order again for
// every read, and most keys have one version to remove. SingleDelete would be undefined where a
// step is repeated after a crash.
class Compactor {
 public:
  Compactor(rocksdb::DB* db, FamilyHandle kv) : db_(db), kv_(std::move(kv)) {}

  // Looks at up to `entries_max` index entries and adds what goes to `batch`. Moves
  // `applied->compacted_to` on, which must be written with the batch. True while more remain. Safe
  // to repeat from an older state of the database.
  bool Step(size_t entries_max, AppliedRecord* applied, rocksdb::WriteBatch* batch);

 private:
  void Remove(std::string_view user_key, Revision revision, rocksdb::WriteBatch* batch);

  rocksdb::DB* db_;
  FamilyHandle kv_;
  // Where the walk towards `target_` continues. Kept in memory alone: after a restart the walk
  // starts at compacted_to again, and removing again what is gone does no harm.
  int64_t target_ = 0;  // 0: no walk under way
  Revision next_;
};

}  // namespace raftkv::store
