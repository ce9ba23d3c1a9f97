#include "tools/dump/wal_records.h"

#include <optional>

#include "common/coding.h"
#include "store/engine.h"
#include "store/wal_format.h"

namespace raftkv::tools::dump {
namespace {

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// Collects what a batch changes.
class Collector : public rocksdb::WriteBatch::Handler {
 public:
  explicit Collector(std::vector<WalUpdate>* updates) : updates_(updates) {}

  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key,
                        const rocksdb::Slice& value) override {
    return Add(WalUpdateKind::kPut, family, key, value);
  }
  rocksdb::Status DeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    return Add(WalUpdateKind::kDelete, family, key, rocksdb::Slice());
  }
  rocksdb::Status SingleDeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    return Add(WalUpdateKind::kSingleDelete, family, key, rocksdb::Slice());
  }
  rocksdb::Status DeleteRangeCF(uint32_t family, const rocksdb::Slice& begin,
                                const rocksdb::Slice& end) override {
    return Add(WalUpdateKind::kDeleteRange, family, begin, end);
  }
  rocksdb::Status MergeCF(uint32_t family, const rocksdb::Slice& key,
                          const rocksdb::Slice& value) override {
    return Add(WalUpdateKind::kMerge, family, key, value);
  }
  // Marks that change nothing. Left to the base class, they would end the iteration.
  void LogData(const rocksdb::Slice&) override {}
  rocksdb::Status MarkNoop(bool) override { return rocksdb::Status::OK(); }

 private:
  rocksdb::Status Add(WalUpdateKind kind, uint32_t family, const rocksdb::Slice& key,
                      const rocksdb::Slice& value) {
    updates_->push_back({kind, family, View(key), View(value)});
    return rocksdb::Status::OK();
  }

  std::vector<WalUpdate>* const updates_;
};

// What stands before each update in a batch, as RocksDB's db/dbformat.h numbers it.
enum Tag : uint8_t {
  kDeletion = 0x0,
  kValue = 0x1,
  kMerge = 0x2,
  kLogData = 0x3,
  kFamilyDeletion = 0x4,
  kFamilyValue = 0x5,
  kFamilyMerge = 0x6,
  kSingleDeletion = 0x7,
  kFamilySingleDeletion = 0x8,
  kNoop = 0xd,
  kFamilyRangeDeletion = 0xe,
  kRangeDeletion = 0xf,
};

// How many byte strings follow a tag; nothing for one that Collector does not take.
std::optional<int> StringsBehind(uint8_t tag) {
  switch (tag) {
    case kNoop:
      return 0;
    case kDeletion:
    case kFamilyDeletion:
    case kSingleDeletion:
    case kFamilySingleDeletion:
    case kLogData:
      return 1;
    case kValue:
    case kFamilyValue:
    case kMerge:
    case kFamilyMerge:
    case kRangeDeletion:
    case kFamilyRangeDeletion:
      return 2;
    default:
      return std::nullopt;
  }
}

bool HasFamily(uint8_t tag) {
  return (tag >= kFamilyDeletion && tag <= kFamilyMerge) || tag == kFamilySingleDeletion ||
         tag == kFamilyRangeDeletion;
}

// Whether RocksDB can be asked what is in a batch. It does not report every update that is not
// raftkv's (of a transaction, say): it asserts that they are taken, and that they are well-formed.
Status CheckUpdates(std::string_view batch) {
  std::string_view rest = batch.substr(store::kBatchHeaderBytes);
  uint64_t family = 0;
  std::string_view string;
  while (!rest.empty()) {
    const auto tag = static_cast<uint8_t>(rest.front());
    rest.remove_prefix(1);
    const std::optional<int> strings = StringsBehind(tag);
    if (!strings) {
      return Status(Code::kCorruption, "its checksum is right, but it holds an update of kind " +
                                           std::to_string(tag) + ", which raftkv does not write");
    }
    bool ok = !HasFamily(tag) || ConsumeVarint(&rest, &family);
    for (int i = 0; ok && i < *strings; ++i) ok = ConsumeLengthPrefixed(&rest, &string);
    if (!ok) {
      return Status(Code::kCorruption,
                    "its checksum is right, but it is no write batch: an update is cut off");
    }
  }
  return Status::Ok();
}

uint64_t FirstSequence(std::string_view batch) {
  uint64_t sequence = 0;
  return ConsumeLittleEndian64(&batch, &sequence) ? sequence : 0;
}

Status Decode(const rocksdb::WriteBatch& batch, std::vector<WalUpdate>* updates) {
  RAFTKV_RETURN_IF_ERROR(CheckUpdates(batch.Data()));
  Collector collector(updates);
  const rocksdb::Status status = batch.Iterate(&collector);
  if (status.ok()) return Status::Ok();
  return Status(Code::kCorruption,
                "its checksum is right, but it is no write batch: " + status.ToString());
}

}  // namespace

std::string_view WalUpdateKindName(WalUpdateKind kind) {
  switch (kind) {
    case WalUpdateKind::kPut:
      return "put";
    case WalUpdateKind::kDelete:
      return "delete";
    case WalUpdateKind::kSingleDelete:
      return "single-delete";
    case WalUpdateKind::kDeleteRange:
      return "delete-range";
    case WalUpdateKind::kMerge:
      return "merge";
  }
  return "unknown";
}

WalRecord ReadBatch(const rocksdb::WriteBatch& batch) {
  WalRecord record;
  record.bytes = batch.Data().size();
  record.sequence = FirstSequence(batch.Data());
  record.status = record.bytes < store::kBatchHeaderBytes
                      ? Status(Code::kCorruption,
                               "its checksum is right, but it is too short for a write batch")
                      : Decode(batch, &record.updates);
  return record;
}

StatusOr<wal::WalFileScan> ForEachWalRecord(const store::WalFile& file,
                                            const std::function<void(const WalRecord&)>& each) {
  return wal::ScanWalFile(file.path, file.number, [&](uint64_t offset, std::string_view payload) {
    const rocksdb::WriteBatch batch{std::string(payload)};
    WalRecord record = ReadBatch(batch);
    record.offset = offset;
    each(record);
  });
}

}  // namespace raftkv::tools::dump
