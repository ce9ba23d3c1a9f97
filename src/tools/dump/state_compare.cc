#include "tools/dump/state_compare.h"

#include <memory>

#include <rocksdb/iterator.h>

#include "store/kv_kinds.h"

namespace raftkv::tools::dump {
namespace {

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// The records of one kind, in key order.
class Records {
 public:
  Records(store::Engine* engine, char kind) : kind_(kind), kv_(engine->kv()) {
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    options.fill_cache = false;
    options.readahead_size = 2 << 20;
    it_.reset(engine->db()->NewIterator(options, kv_.get()));
    it_->Seek(std::string(1, kind));
  }

  bool Valid() const { return it_->Valid() && it_->key()[0] == kind_; }
  void Next() { it_->Next(); }
  std::string_view key() const { return View(it_->key()); }
  std::string_view value() const { return View(it_->value()); }
  Status status() const { return store::FromRocksDb(it_->status(), "reading the applied state"); }

 private:
  const char kind_;
  const store::FamilyHandle kv_;
  std::unique_ptr<rocksdb::Iterator> it_;
};

// Those versions of the keys that can be read at a revision from `floor` to `revision`.
class Versions {
 public:
  Versions(store::Engine* engine, int64_t floor, int64_t revision)
      : floor_(floor), revision_(revision), records_(engine, store::kDataKind) {
    SkipToVisible();
  }

  bool Valid() const { return records_.Valid(); }
  void Next() {
    records_.Next();
    SkipToVisible();
  }
  std::string_view key() const { return records_.key(); }
  std::string_view value() const { return records_.value(); }
  Status status() const { return records_.status(); }

 private:
  void SkipToVisible() {
    while (records_.Valid() && !IsVisible()) records_.Next();
  }

  // Asked once for each, in order.
  bool IsVisible() {
    const std::string_view key = records_.key();
    // What is no version is shown, so that it is compared byte by byte.
    std::string user_key;
    store::Revision revision;
    if (!store::DecodeDataKey(key, &user_key, &revision).ok()) return true;
    if (revision.main > revision_) return false;
    if (revision.main > floor_) return true;
    // At the floor the newest version stands, and a deletion is as good as nothing.
    const std::string_view prefix = store::DataPrefixOf(key);
    if (prefix == at_floor_) return false;
    at_floor_.assign(prefix);
    store::DataRecord record;
    return !store::DecodeDataRecord(key, records_.value(), &record).ok() || !record.tombstone;
  }

  const int64_t floor_;
  const int64_t revision_;
  std::string at_floor_;  // prefix of the key whose version at the floor was met
  Records records_;
};

template <typename Side>
StatusOr<uint64_t> Merge(Side* a, Side* b, const OnDifference& on_difference) {
  uint64_t compared = 0;
  while (a->Valid() || b->Valid()) {
    // Below 0: only a has it; above 0: only b.
    const int order = !b->Valid() ? -1 : !a->Valid() ? 1 : a->key().compare(b->key());
    if (order != 0) {
      on_difference({std::string(order < 0 ? a->key() : b->key()), order<0, order> 0});
    } else if (a->value() != b->value()) {
      on_difference({std::string(a->key()), true, true});
    }
    ++compared;
    if (order <= 0) a->Next();
    if (order >= 0) b->Next();
    // An end that comes of an error would make all the rest look like a difference.
    RAFTKV_RETURN_IF_ERROR(a->status());
    RAFTKV_RETURN_IF_ERROR(b->status());
  }
  RAFTKV_RETURN_IF_ERROR(a->status());
  RAFTKV_RETURN_IF_ERROR(b->status());
  return compared;
}

}  // namespace

StatusOr<uint64_t> CompareVersions(store::Engine* a, store::Engine* b, int64_t floor,
                                   int64_t revision, const OnDifference& on_difference) {
  Versions of_a(a, floor, revision);
  Versions of_b(b, floor, revision);
  RAFTKV_RETURN_IF_ERROR(of_a.status());
  RAFTKV_RETURN_IF_ERROR(of_b.status());
  return Merge(&of_a, &of_b, on_difference);
}

StatusOr<uint64_t> CompareRecords(store::Engine* a, store::Engine* b, char kind,
                                  const OnDifference& on_difference) {
  Records of_a(a, kind);
  Records of_b(b, kind);
  RAFTKV_RETURN_IF_ERROR(of_a.status());
  RAFTKV_RETURN_IF_ERROR(of_b.status());
  return Merge(&of_a, &of_b, on_difference);
}

}  // namespace raftkv::tools::dump
