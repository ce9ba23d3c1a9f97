// Collects what a run of entries changes into one RocksDB batch, and lets later entries see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include "store/engine.h"
#include "store/mvcc_view.h"
#include "store/newest_versions.h"
#include "store/overlay.h"

namespace raftkv::store {

// Owned by the apply thread; lives for one batch. Requests whose keys and values are passed in must
// live as long.
class BatchWriter {
 public:
  // `revision` is the store's before the batch, and `newest` is of the state before it; Finish
  // brings that up to date. What is written goes into `batch`.
  BatchWriter(rocksdb::DB* db, FamilyHandle kv, NewestVersions* newest, int64_t revision,
              rocksdb::WriteBatch* batch);

  BatchWriter(const BatchWriter&) = delete;
  BatchWriter& operator=(const BatchWriter&) = delete;

  // All changes until the next Begin belong to one revision, in order.
  void Begin();
  // The store's revision if there was no change since Begin, else one more: etcd's rule for what a
  // transaction's own reads see and report.
  int64_t revision() const { return revision_ + (sub_ > 0 ? 1 : 0); }
  int64_t begin_revision() const { return revision_; }

  // `previous` is what view()->Get found at revision(); null if there is no such key. It may
  // still be the view's.
  void Put(std::string_view key, std::string_view value, int64_t lease, const KeyVersion* previous);
  // `mod` is the live version's.
  void Delete(std::string_view key, Revision mod);
  void End();

  // Once, last, before the batch is written: adds the versions to it.
  void Finish();

  MvccView* view() { return &view_; }
  Overlay* overlay() { return &overlay_; }
  // About what the changes take in memory until they are written.
  size_t overlay_bytes() const { return overlay_.bytes(); }
  rocksdb::ColumnFamilyHandle* kv() { return kv_.get(); }
  rocksdb::WriteBatch* batch() { return batch_; }

 private:
  void Write(const KeyVersion& version, Revision previous);
  void AddToBatch(const KeyVersion& version);

  FamilyHandle kv_;
  NewestVersions* newest_;
  int64_t revision_;
  uint32_t sub_ = 0;  // of the next change
  rocksdb::WriteBatch* batch_;
  Overlay overlay_;
  MvccView view_;
  std::string data_key_;  // scratch
  std::string record_;    // scratch
};

}  // namespace raftkv::store
