#include "store/batch_writer.h"

#include <utility>

#include "common/check.h"

namespace raftkv::store {

BatchWriter::BatchWriter(rocksdb::DB* db, FamilyHandle kv, NewestVersions* newest, int64_t revision,
                         rocksdb::WriteBatch* batch)
    : kv_(kv),
      newest_(newest),
      revision_(revision),
      batch_(batch),
      view_(MvccView::ForApply(db, std::move(kv), &overlay_, newest)) {}

void BatchWriter::Begin() { sub_ = 0; }

void BatchWriter::End() {
  revision_ = revision();
  sub_ = 0;
}

// In the order of their keys, as the memtable is: it then starts each search at the place it found
// last (kv_prefix.h).
void BatchWriter::Finish() {
  for (const auto& [key, versions] : overlay_.versions()) {
    data_key_.clear();
    AppendDataPrefix(&data_key_, key);
    for (const KeyVersion& version : versions.older) AddToBatch(version);
    AddToBatch(versions.newest);
    newest_->Store(versions.newest);
  }
}

void BatchWriter::Put(std::string_view key, std::string_view value, int64_t lease,
                      const KeyVersion* previous) {
  const Revision mod{revision_ + 1, sub_};
  KeyVersion version{.key = key,
                     .mod = mod,
                     .tombstone = false,
                     .create_revision = previous ? previous->create_revision : mod.main,
                     .version = previous ? previous->version + 1 : 1,
                     .lease = lease,
                     .value = value};
  Write(version, previous ? previous->mod : Revision{});
}

void BatchWriter::Delete(std::string_view key, Revision mod) {
  KeyVersion version;
  version.key = key;
  version.mod = {revision_ + 1, sub_};
  version.tombstone = true;
  Write(version, mod);
}

void BatchWriter::Write(const KeyVersion& version, Revision previous) {
  RAFTKV_CHECK(sub_ < UINT32_MAX, "too many changes in one transaction");
  const std::string revision_key = RevisionKey(version.mod);
  EncodeRevisionRecord(revision_key, version.mod, {version.tombstone, previous, version.key},
                       &record_);
  const rocksdb::Status status = batch_->Put(kv_.get(), revision_key, record_);
  RAFTKV_CHECK(status.ok(), status.ToString());
  overlay_.Add(version);
  ++sub_;
}

// `data_key_` begins with the key's prefix.
void BatchWriter::AddToBatch(const KeyVersion& version) {
  const size_t prefix_bytes = data_key_.size();
  AppendInvertedRevision(&data_key_, version.mod);
  const DataRecord data{version.tombstone, version.create_revision, version.version, version.lease,
                        version.value};
  EncodeDataRecord(data_key_, version.mod.main, data, &record_);
  const rocksdb::Status status = batch_->Put(kv_.get(), data_key_, record_);
  RAFTKV_CHECK(status.ok(), status.ToString());
  data_key_.resize(prefix_bytes);
}

}  // namespace raftkv::store
