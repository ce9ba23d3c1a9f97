#include "wal/wal_file_scan.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "common/coding.h"
#include "store/engine.h"
#include "store/wal_file_system.h"
#include "store/wal_format.h"

namespace raftkv::wal {
namespace {

using store::FindIntactWalChunk;
using store::IsRecyclable;
using store::kBatchHeaderBytes;
using store::kRecyclableHeaderBytes;
using store::kWalBlockBytes;
using store::kWalChunkHeaderBytes;
using store::ReadWalChunk;
using store::WalChunk;
using store::WalChunkError;
using store::WalChunkType;

constexpr size_t kReadBytes = 8 * kWalBlockBytes;

const char* Describe(WalChunkError error) {
  switch (error) {
    case WalChunkError::kNone:
      return "";
    case WalChunkError::kCutHeader:
      return "a chunk header is cut off";
    case WalChunkError::kZeroType:
      return "there are zeros where a chunk should be";
    case WalChunkError::kTooLong:
      return "a chunk reaches over the end of its block";
    case WalChunkError::kBadChecksum:
      return "a checksum does not match";
    case WalChunkError::kUnknownType:
      return "a chunk has a type that RocksDB 7.8 does not know";
    case WalChunkError::kOldFile:
      return "a record ends in a chunk of an older file";
  }
  return "";
}

// Fed the file's blocks in order.
class Walker {
 public:
  Walker(uint64_t file_number, const WalRecordFn& on_record, WalFileScan* scan)
      : file_number_(file_number), on_record_(on_record), scan_(scan) {}

  // `block` is at `base` of the file, and whole unless it is the last.
  void TakeBlock(std::string_view block, uint64_t base) {
    size_t offset = 0;
    if (!past_end_ && scan_->damage.empty()) offset = Walk(block, base);
    if (offset < block.size()) SearchBehind(block, offset, base);
  }

  void Finish() {
    if (in_record_ && scan_->damage.empty()) {
      Damaged("the last record's end is missing", scan_->report.bytes);
    }
    // Behind the last chunk of a recycled file lies its former life, and nothing else.
    if (past_end_ && scan_->damage.empty() && scan_->intact_offset) {
      Damaged("records follow the end of the file's own", end_offset_);
    }
  }

 private:
  // Reads chunks up to the end of the block or the first that is not good; returns where it got to.
  size_t Walk(std::string_view block, uint64_t base) {
    size_t offset = 0;
    while (offset < block.size()) {
      if (IsTrailer(block, offset)) return block.size();
      const WalChunk chunk = ReadWalChunk(block, offset, file_number_);
      if (chunk.error == WalChunkError::kOldFile && !in_record_) {
        past_end_ = true;
        end_offset_ = base + offset;
        return offset + 1;
      }
      if (chunk.error != WalChunkError::kNone) {
        Damaged(Describe(chunk.error), base + offset);
        // A chunk of a later version is data all the same.
        if (chunk.error == WalChunkError::kUnknownType) scan_->intact_offset = base + offset;
        scan_->zero_tail = chunk.error == WalChunkError::kZeroType;
        // In the sector that it begins in, the end of the record before it is there; and its own
        // header, or the first bytes of that.
        const size_t sector_end = std::min(RoundUpToSector(offset + 1), block.size());
        hole_ = IsZero(block, offset, sector_end);
        may_have_rest_ = scan_->zero_tail || HasRest(block, offset);
        return offset;
      }
      if (const char* misplaced = Accept(chunk, base + offset)) {
        // It has its checksum, so what belongs before it is lost.
        Damaged(misplaced, base + offset);
        scan_->intact_offset = base + offset;
        return offset;
      }
      offset += chunk.bytes;
    }
    return offset;
  }

  // The rest of a block where no header fits. RocksDB never looks at these bytes, but it does
  // report a file that ends among them.
  bool IsTrailer(std::string_view block, size_t offset) const {
    if (block.size() != kWalBlockBytes) return false;
    const size_t left = block.size() - offset;
    if (left < kWalChunkHeaderBytes) return true;
    return recyclable_ && left < kRecyclableHeaderBytes &&
           block.find_first_not_of('\0', offset) == std::string_view::npos;
  }

  // Takes an intact chunk into account; an explanation when it can't be where it is.
  const char* Accept(const WalChunk& chunk, uint64_t begin) {
    const uint64_t end = begin + chunk.bytes;
    if (chunk.type == WalChunkType::kSetCompression) {
      if (in_record_ || scan_->report.records > 0) return "a compression marker is out of place";
      compressed_ = true;
      scan_->report.valid_bytes = end;
      return nullptr;
    }
    recyclable_ = recyclable_ || IsRecyclable(chunk.type);
    const WalChunkType type = IsRecyclable(chunk.type)
                                  ? static_cast<WalChunkType>(static_cast<uint8_t>(chunk.type) - 4)
                                  : chunk.type;
    const bool starts = type == WalChunkType::kFull || type == WalChunkType::kFirst;
    const bool ends = type == WalChunkType::kFull || type == WalChunkType::kLast;
    if (starts && in_record_) return "a record starts before the last one's end";
    if (!starts && !in_record_) return "a record's start is missing";
    if (starts) {
      record_offset_ = begin;
      record_.clear();
    }
    // Without anybody to see it, a record's beginning is all that is looked at.
    const size_t wanted = on_record_ ? std::string_view::npos : kBatchHeaderBytes - record_.size();
    record_.append(chunk.payload.substr(0, wanted));
    in_record_ = !ends;
    if (ends) {
      ++scan_->report.records;
      if (HoldsWrites()) ++scan_->report.writes;
      scan_->report.valid_bytes = end;
      if (on_record_) on_record_(record_offset_, record_);
    }
    return nullptr;
  }

  // RocksDB logs a batch without updates when it has recovered from a cut-off write. Compressed
  // batches are not looked into.
  bool HoldsWrites() const {
    if (compressed_ || record_.size() < kBatchHeaderBytes) return true;
    std::string_view count_bytes = std::string_view(record_).substr(8);
    uint32_t count = 0;
    return !ConsumeLittleEndian32(&count_bytes, &count) || count != 0;
  }

  void Damaged(const char* what, uint64_t offset) {
    scan_->damage = what;
    scan_->damage_offset = offset;
  }

  // Is anything intact left behind the point where reading ended? The damaged chunk's length can't
  // be trusted to say where the next begins, so every byte is tried.
  //
  // The pages of one write reach a disk in any order, and what did not reach it reads as the zeros
  // that were there before. So behind a hole the rest of the record may lie that has the hole, and
  // nothing else: the next record is not written before this one is synced.
  void SearchBehind(std::string_view block, size_t offset, uint64_t base) {
    if (scan_->intact_offset) return;
    if (block.find_first_not_of('\0', offset) != std::string_view::npos) scan_->zero_tail = false;
    while (const auto found = FindIntactWalChunk(block, offset, file_number_)) {
      hole_ = hole_ || HasZeroSector(block, offset, *found);
      const WalChunk chunk = ReadWalChunk(block, *found, file_number_);
      // What goes on in another block fills its own, and goes on where that begins.
      const bool rest =
          *found == 0 && (chunk.type == WalChunkType::kMiddle || chunk.type == WalChunkType::kLast);
      if (scan_->damage.empty() || !hole_ || !may_have_rest_ || rest_ended_ || !rest) {
        scan_->intact_offset = base + *found;
        return;
      }
      rest_ended_ = chunk.type == WalChunkType::kLast;
      offset = *found + chunk.bytes;
    }
    hole_ = hole_ || HasZeroSector(block, offset, block.size());
  }

  static constexpr size_t kSectorBytes = 512;
  static size_t RoundUpToSector(size_t at) {
    return (at + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  }
  static bool IsZero(std::string_view block, size_t begin, size_t end) {
    return block.substr(begin, end - begin).find_first_not_of('\0') == std::string_view::npos;
  }
  // Whether the header at `offset`, which is there, is of a chunk that goes on in the next block.
  static bool HasRest(std::string_view block, size_t offset) {
    if (block.size() - offset < kWalChunkHeaderBytes) return false;
    const auto type = static_cast<WalChunkType>(block[offset + kWalChunkHeaderBytes - 1]);
    return type == WalChunkType::kFirst || type == WalChunkType::kMiddle;
  }
  // Whether nothing was written to one of the sectors that lie in [begin, end) of a block.
  static bool HasZeroSector(std::string_view block, size_t begin, size_t end) {
    for (size_t at = RoundUpToSector(begin); at + kSectorBytes <= end; at += kSectorBytes) {
      if (IsZero(block, at, at + kSectorBytes)) return true;
    }
    return false;
  }

  const uint64_t file_number_;
  const WalRecordFn& on_record_;
  WalFileScan* const scan_;
  bool in_record_ = false;
  bool recyclable_ = false;
  bool compressed_ = false;
  bool hole_ = false;           // behind the damage there is a sector that was not written
  bool may_have_rest_ = false;  // the damaged chunk is not known to end its record
  bool rest_ended_ = false;     // behind the hole there is the end of that
  bool past_end_ = false;       // a chunk of the file's former life was met between records
  uint64_t end_offset_ = 0;
  uint64_t record_offset_ = 0;
  std::string record_;  // the one being read
};

Status ReadFile(rocksdb::SequentialFile* file, const std::string& path, uint64_t file_number,
                const WalRecordFn& on_record, WalFileScan* scan) {
  Walker walker(file_number, on_record, scan);
  std::vector<char> buffer(kReadBytes);
  for (;;) {
    // As much as was asked for, unless the file ends.
    rocksdb::Slice got;
    RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(file->Read(buffer.size(), &got, buffer.data()),
                                              "cannot read the WAL file " + path));
    const std::string_view bytes(got.data(), got.size());
    for (size_t at = 0; at < bytes.size(); at += kWalBlockBytes) {
      walker.TakeBlock(bytes.substr(at, kWalBlockBytes), scan->report.bytes + at);
    }
    const size_t last = bytes.find_last_not_of('\0');
    if (last != std::string_view::npos) scan->data_end = scan->report.bytes + last + 1;
    scan->report.bytes += bytes.size();
    if (bytes.size() < buffer.size()) break;
  }
  walker.Finish();
  return Status::Ok();
}

}  // namespace

StatusOr<WalFileScan> ScanWalFile(const std::string& path, uint64_t file_number,
                                  const WalRecordFn& on_record, rocksdb::Env* env) {
  if (env == nullptr) env = store::DefaultEnv();
  std::unique_ptr<rocksdb::SequentialFile> file;
  RAFTKV_RETURN_IF_ERROR(
      store::FromRocksDb(env->NewSequentialFile(path, &file, rocksdb::EnvOptions()),
                         "cannot open the WAL file " + path));
  WalFileScan scan;
  scan.report.name = std::filesystem::path(path).filename().string();
  RAFTKV_RETURN_IF_ERROR(ReadFile(file.get(), path, file_number, on_record, &scan));
  return scan;
}

}  // namespace raftkv::wal
