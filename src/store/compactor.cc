#include "store/compactor.h"

#include <algorithm>
#include <memory>

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include "common/check.h"

namespace raftkv::store {

bool Compactor::Step(size_t entries_max, AppliedRecord* applied, rocksdb::WriteBatch* batch) {
  if (applied->compacted_to >= applied->compact_revision) return false;
  if (target_ != applied->compact_revision) {
    // A new target, or a restart. The revision that the last walk ended at is visited again, for
    // the tombstones it had to leave.
    target_ = applied->compact_revision;
    next_ = {std::max<int64_t>(applied->compacted_to, 1), 0};
  }
  const std::string end = RevisionKey({target_ + 1, 0});
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, kv_.get()));
  it->Seek(RevisionKey(next_));
  for (size_t i = 0; i < entries_max && it->Valid(); ++i, it->Next()) {
    const std::string_view key(it->key().data(), it->key().size());
    Revision revision;
    RevisionRecord record;
    Status status = DecodeRevisionKey(key, &revision);
    if (status.ok()) {
      status = DecodeRevisionRecord(key, {it->value().data(), it->value().size()}, &record);
    }
    RAFTKV_CHECK(status.ok(), status.ToString());
    if (revision.main > applied->compacted_to && !record.previous.none()) {
      Remove(record.user_key, record.previous, batch);
    }
    if (record.tombstone && revision.main < target_) Remove(record.user_key, revision, batch);
    next_ = revision.sub < UINT32_MAX ? Revision{revision.main, revision.sub + 1}
                                      : Revision{revision.main + 1, 0};
  }
  RAFTKV_CHECK(it->status().ok(), it->status().ToString());
  if (it->Valid()) {
    // Revisions before the next one are done, whatever their number of changes.
    applied->compacted_to = std::max(applied->compacted_to, next_.main - 1);
    return true;
  }
  applied->compacted_to = target_;
  target_ = 0;
  return false;
}

void Compactor::Remove(std::string_view user_key, Revision revision, rocksdb::WriteBatch* batch) {
  rocksdb::Status status = batch->Delete(kv_.get(), DataKey(user_key, revision));
  if (status.ok()) status = batch->Delete(kv_.get(), RevisionKey(revision));
  RAFTKV_CHECK(status.ok(), status.ToString());
}

}  // namespace raftkv::store
