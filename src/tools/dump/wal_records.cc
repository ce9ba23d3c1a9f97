#include "tools/dump/wal_records.h"

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
  // Marks of transactions, which raftkv does not use. To refuse them here would be the end of the
  // process: RocksDB asserts that they are taken.
  rocksdb::Status MarkBeginPrepare(bool) override { return Foreign(); }
  rocksdb::Status MarkEndPrepare(const rocksdb::Slice&) override { return Foreign(); }
  rocksdb::Status MarkRollback(const rocksdb::Slice&) override { return Foreign(); }
  rocksdb::Status MarkCommit(const rocksdb::Slice&) override { return Foreign(); }
  rocksdb::Status MarkCommitWithTimestamp(const rocksdb::Slice&, const rocksdb::Slice&) override {
    return Foreign();
  }

  bool foreign() const { return foreign_; }

 private:
  rocksdb::Status Foreign() {
    foreign_ = true;
    return rocksdb::Status::OK();
  }

  rocksdb::Status Add(WalUpdateKind kind, uint32_t family, const rocksdb::Slice& key,
                      const rocksdb::Slice& value) {
    updates_->push_back({kind, family, View(key), View(value)});
    return rocksdb::Status::OK();
  }

  std::vector<WalUpdate>* const updates_;
  bool foreign_ = false;
};

uint64_t FirstSequence(std::string_view batch) {
  uint64_t sequence = 0;
  return ConsumeLittleEndian64(&batch, &sequence) ? sequence : 0;
}

Status Decode(const rocksdb::WriteBatch& batch, std::vector<WalUpdate>* updates) {
  Collector collector(updates);
  const rocksdb::Status status = batch.Iterate(&collector);
  if (status.ok() && collector.foreign()) {
    return Status(Code::kCorruption,
                  "its checksum is right, but it holds a transaction, which raftkv does not write");
  }
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
