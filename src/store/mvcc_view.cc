#include "store/mvcc_view.h"

#include <rocksdb/options.h>

#include "common/check.h"
#include "store/engine.h"

namespace raftkv::store {
namespace {

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }
rocksdb::Slice Slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

// With the prefix extractor (kv_prefix.h) a seek may skip memtables and files whose bloom filter
// says that they hold no version of the key. Without one these options mean nothing.
rocksdb::ReadOptions PointOptions() {
  rocksdb::ReadOptions options;
  options.total_order_seek = false;
  options.prefix_same_as_start = true;
  return options;
}

// What is neither in a memtable nor in the block cache fails the read (Status::Incomplete), and so
// does a key whose many removed versions no compaction of RocksDB has dropped yet.
rocksdb::ReadOptions InMemoryPointOptions() {
  constexpr uint64_t kRemovedVersionsMax = 64;
  rocksdb::ReadOptions options = PointOptions();
  options.read_tier = rocksdb::kBlockCacheTier;
  options.max_skippable_internal_keys = kRemovedVersionsMax;
  return options;
}

// A scan crosses prefixes, which only total order gets right.
rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  return options;
}

// Decodes the record at `it`, which must be at a data key. The key of `out` is not set.
Status DecodeAt(const rocksdb::Iterator& it, const Revision& revision, KeyVersion* out) {
  DataRecord record;
  RAFTKV_RETURN_IF_ERROR(DecodeDataRecord(View(it.key()), View(it.value()), &record));
  out->mod = revision;
  out->tombstone = record.tombstone;
  out->create_revision = record.create_revision;
  out->version = record.version;
  out->lease = record.lease;
  out->value = record.value;
  return Status::Ok();
}

}  // namespace

KeyRange KeyRange::Of(std::string_view key, std::string_view range_end) {
  // gRPC can't tell an empty end from none, so etcd writes "to the end" as one zero byte.
  const bool unbounded = range_end == std::string_view("\0", 1);
  return {key, unbounded ? std::string_view() : range_end, range_end.empty(), unbounded};
}

std::string DataUpperBound(const KeyRange& range) {
  if (range.unbounded) return std::string(1, kDataKind + 1);
  std::string bound = DataPrefix(range.single ? range.key : range.end);
  // Prefixes end with 01, and no key continues one: 02 is behind every version of the key.
  if (range.single) bound.back() = '\x02';
  return bound;
}

MvccView MvccView::ForKey(rocksdb::DB* db, FamilyHandle kv) {
  MvccView view(db, std::move(kv));
  view.PointIterator();
  return view;
}

MvccView MvccView::ForKeyInMemory(rocksdb::DB* db, FamilyHandle kv) {
  MvccView view(db, std::move(kv));
  view.in_memory_ = true;
  view.PointIterator();
  return view;
}

MvccView MvccView::ForRange(rocksdb::DB* db, FamilyHandle kv, const KeyRange& range) {
  MvccView view(db, std::move(kv));
  view.bound_ = std::make_unique<Bound>();
  view.bound_->bytes = DataUpperBound(range);
  view.bound_->slice = view.bound_->bytes;
  view.ScanIterator();
  return view;
}

MvccView MvccView::ForAll(rocksdb::DB* db, FamilyHandle kv) {
  MvccView view(db, std::move(kv));
  view.ScanIterator();
  return view;
}

MvccView MvccView::ForBulk(rocksdb::DB* db, FamilyHandle kv) {
  MvccView view(db, std::move(kv));
  view.bulk_ = true;
  view.ScanIterator();
  return view;
}

MvccView MvccView::ForApply(rocksdb::DB* db, FamilyHandle kv, const Overlay* overlay,
                            const NewestVersions* newest) {
  return MvccView(db, std::move(kv), overlay, newest);
}

rocksdb::Iterator* MvccView::PointIterator() {
  if (!point_) {
    // A view with a scan iterator answers everything from it: a second iterator would see a later
    // state.
    if (scan_ && overlay_ == nullptr) return scan_.get();
    point_.reset(db_->NewIterator(in_memory_ ? InMemoryPointOptions() : PointOptions(), kv_.get()));
  }
  return point_.get();
}

rocksdb::Iterator* MvccView::ScanIterator() {
  if (!scan_) {
    RAFTKV_CHECK(!point_ || overlay_ != nullptr, "a view for one key was asked for a range");
    rocksdb::ReadOptions options = ScanOptions();
    if (bound_) options.iterate_upper_bound = &bound_->slice;
    if (bulk_) {
      options.fill_cache = false;
      options.readahead_size = 2 << 20;
    }
    scan_.reset(db_->NewIterator(options, kv_.get()));
  }
  return scan_.get();
}

Status MvccView::Get(std::string_view key, int64_t at, std::optional<KeyVersion>* found) {
  found->reset();
  if (overlay_ != nullptr) {
    const Overlay::Versions* versions = overlay_->Find(key);
    if (const KeyVersion* version = versions ? versions->At(at) : nullptr) {
      if (!version->tombstone) *found = *version;
      return Status::Ok();
    }
  }
  target_.clear();
  AppendDataPrefix(&target_, key);
  AppendInvertedRevision(&target_, LastOf(at));
  rocksdb::Iterator* it = PointIterator();
  it->Seek(target_);
  if (!it->Valid()) {
    const rocksdb::Status status = it->status();
    missed_ = status.IsIncomplete();
    return FromRocksDb(status, "kv: read a key");
  }
  missed_ = false;
  if (it->key().size() != target_.size() || !it->key().starts_with(Slice(DataPrefixOf(target_)))) {
    return Status::Ok();
  }
  KeyVersion version;
  RAFTKV_RETURN_IF_ERROR(DecodeAt(*it, DataKeyRevision(View(it->key())), &version));
  version.key = key;
  if (!version.tombstone) *found = version;
  return Status::Ok();
}

Status MvccView::GetWithoutValue(std::string_view key, int64_t at,
                                 std::optional<KeyVersion>* found) {
  // What the overlay has of a key is newer still, and Get looks there first.
  KeyVersion version;
  if (newest_ == nullptr || overlay_->Find(key) != nullptr || !newest_->Find(key, &version) ||
      version.mod.main > at) {
    return Get(key, at, found);
  }
  found->reset();
  if (!version.tombstone) *found = version;
  return Status::Ok();
}

// Walks the live keys of a range at a revision, in RocksDB only.
class MvccView::Cursor {
 public:
  Cursor(rocksdb::Iterator* it, const KeyRange& range, int64_t at)
      : it_(it), at_(at), upper_(DataUpperBound(range)) {
    it_->Seek(DataPrefix(range.key));
  }

  // Finds the next live key; false in `*found` at the end.
  Status Next(bool* found) {
    if (!prefix_.empty()) SkipKey();
    for (*found = false; it_->Valid(); SkipKey()) {
      const std::string_view key = View(it_->key());
      if (key >= upper_) return Status::Ok();
      Revision revision;
      RAFTKV_RETURN_IF_ERROR(DecodeDataKey(key, &user_key_, &revision));
      prefix_.assign(DataPrefixOf(key));
      if (revision.main > at_ && !SeekVersion(&revision)) continue;
      RAFTKV_RETURN_IF_ERROR(DecodeAt(*it_, revision, &version_));
      if (version_.tombstone) continue;
      version_.key = user_key_;
      *found = true;
      return Status::Ok();
    }
    return FromRocksDb(it_->status(), "kv: scan");
  }

  const KeyVersion& version() const { return version_; }

 private:
  // How many entries to step over before a seek is the cheaper way: a step costs a fraction of a
  // seek, which has to search every level again.
  static constexpr int kStepsMax = 8;

  bool AtKey() const { return it_->Valid() && it_->key().starts_with(prefix_); }

  // From a version that is too new to the newest one at or below the revision. False if there is
  // none, with the iterator somewhere behind or on the last versions of the key.
  bool SeekVersion(Revision* revision) {
    for (int i = 0; i < kStepsMax; ++i) {
      it_->Next();
      if (!AtKey()) return false;
      *revision = DataKeyRevision(View(it_->key()));
      if (revision->main <= at_) return true;
    }
    target_ = prefix_;
    AppendInvertedRevision(&target_, LastOf(at_));
    it_->Seek(target_);
    if (!AtKey()) return false;
    *revision = DataKeyRevision(View(it_->key()));
    return true;
  }

  void SkipKey() {
    for (int i = 0; i < kStepsMax; ++i) {
      if (!AtKey()) return;
      it_->Next();
    }
    if (!AtKey()) return;
    target_ = prefix_;
    target_.back() = '\x02';  // see DataUpperBound
    it_->Seek(target_);
  }

  rocksdb::Iterator* it_;
  const int64_t at_;
  const std::string upper_;
  std::string prefix_;  // of the key the cursor is at; empty before the first
  std::string user_key_;
  std::string target_;  // scratch
  KeyVersion version_;
};

Status MvccView::Scan(const KeyRange& range, int64_t at, const Visitor& visit) {
  if (range.single) {
    std::optional<KeyVersion> version;
    RAFTKV_RETURN_IF_ERROR(Get(range.key, at, &version));
    if (version) visit(*version);
    return Status::Ok();
  }
  if (!range.unbounded && range.key >= range.end) return Status::Ok();
  if (overlay_ != nullptr && !overlay_->versions().empty()) return ScanMerged(range, at, visit);
  Cursor cursor(ScanIterator(), range, at);
  for (bool found = false;;) {
    RAFTKV_RETURN_IF_ERROR(cursor.Next(&found));
    if (!found || !visit(cursor.version())) return Status::Ok();
  }
}

Status MvccView::ScanMerged(const KeyRange& range, int64_t at, const Visitor& visit) {
  Cursor cursor(ScanIterator(), range, at);
  bool stored = false;  // the cursor is at a key
  RAFTKV_RETURN_IF_ERROR(cursor.Next(&stored));
  auto written = overlay_->versions().lower_bound(range.key);
  const auto written_end =
      range.unbounded ? overlay_->versions().end() : overlay_->versions().lower_bound(range.end);
  while (stored || written != written_end) {
    if (written == written_end || (stored && cursor.version().key < written->first)) {
      if (!visit(cursor.version())) return Status::Ok();
      RAFTKV_RETURN_IF_ERROR(cursor.Next(&stored));
      continue;
    }
    const bool same_key = stored && cursor.version().key == written->first;
    const KeyVersion* version = written->second.At(at);
    // A version of this batch hides every stored one; if all of them are too new, none does.
    if (version == nullptr && same_key) version = &cursor.version();
    if (version != nullptr && !version->tombstone && !visit(*version)) return Status::Ok();
    if (same_key) RAFTKV_RETURN_IF_ERROR(cursor.Next(&stored));
    ++written;
  }
  return Status::Ok();
}

}  // namespace raftkv::store
