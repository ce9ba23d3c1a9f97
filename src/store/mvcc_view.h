// Reads of versions at a revision, from RocksDB and, on the apply thread, from the batch under way.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "common/status.h"
#include "store/engine.h"
#include "store/mvcc.h"
#include "store/newest_versions.h"
#include "store/overlay.h"

namespace raftkv::store {

// The user keys of a request: etcd's (key, range_end) pair.
struct KeyRange {
  std::string_view key;
  std::string_view end;
  bool single = false;     // only `key`
  bool unbounded = false;  // from `key` on

  static KeyRange Of(std::string_view key, std::string_view range_end);
};

// Where the whole of `range` ends among the data keys (exclusive).
std::string DataUpperBound(const KeyRange& range);

// One consistent view; not thread-safe. What it sees of RocksDB is fixed when the view is made,
// except for ForApply. Holds the column family: one that is replaced meanwhile stays readable.
class MvccView {
 public:
  // For reads of single keys only. The iterator may use the prefix bloom filters.
  static MvccView ForKey(rocksdb::DB* db, FamilyHandle kv);
  // The same, out of memory alone: see missed().
  static MvccView ForKeyInMemory(rocksdb::DB* db, FamilyHandle kv);
  // For reads within `range`.
  static MvccView ForRange(rocksdb::DB* db, FamilyHandle kv, const KeyRange& range);
  // For any reads.
  static MvccView ForAll(rocksdb::DB* db, FamilyHandle kv);
  // For one pass over everything: reads ahead, and leaves the block cache to the others.
  static MvccView ForBulk(rocksdb::DB* db, FamilyHandle kv);
  // For the apply thread: any reads, with what `overlay` holds on top. `newest` is of the state
  // below the overlay. Iterators are made when first needed; as nobody else writes, they see the
  // same.
  static MvccView ForApply(rocksdb::DB* db, FamilyHandle kv, const Overlay* overlay,
                           const NewestVersions* newest);

  // The newest version of `key` at or below revision `at`; none if there is none or it is a
  // tombstone. It stays valid until the next read from this view. kCorruption: see mvcc.h.
  Status Get(std::string_view key, int64_t at, std::optional<KeyVersion>* found);

  // The same, but `found` need not have the value.
  Status GetWithoutValue(std::string_view key, int64_t at, std::optional<KeyVersion>* found);

  // For ForKeyInMemory: whether the last Get failed because it would have had to wait for the disk,
  // or to step over many removed versions. It then says nothing about the key.
  bool missed() const { return missed_; }

  // Calls `visit` with the newest version at or below `at` of every key in `range`, in key order,
  // without those that are tombstones, until it returns false. A version is valid during the call;
  // `visit` must not read from this view.
  using Visitor = std::function<bool(const KeyVersion&)>;
  Status Scan(const KeyRange& range, int64_t at, const Visitor& visit);

 private:
  class Cursor;

  MvccView(rocksdb::DB* db, FamilyHandle kv, const Overlay* overlay = nullptr,
           const NewestVersions* newest = nullptr)
      : db_(db), kv_(std::move(kv)), overlay_(overlay), newest_(newest) {}

  rocksdb::Iterator* PointIterator();
  rocksdb::Iterator* ScanIterator();
  Status ScanMerged(const KeyRange& range, int64_t at, const Visitor& visit);

  rocksdb::DB* db_;
  FamilyHandle kv_;               // before the iterators, which must go first
  const Overlay* overlay_;        // null: none
  const NewestVersions* newest_;  // null: none
  bool bulk_ = false;
  bool in_memory_ = false;
  bool missed_ = false;
  // What iterate_upper_bound points to; on the heap, so that a move leaves it in place. Declared
  // before the iterators that use it.
  struct Bound {
    std::string bytes;
    rocksdb::Slice slice;
  };
  std::unique_ptr<Bound> bound_;
  std::unique_ptr<rocksdb::Iterator> point_;
  std::unique_ptr<rocksdb::Iterator> scan_;
  std::string target_;  // scratch
};

}  // namespace raftkv::store
