#include "wal/wal_presence.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "common/coding.h"
#include "store/engine_files.h"
#include "store/wal_format.h"
#include "wal/manifest_file.h"

namespace raftkv::wal {
namespace {

using store::WalChunk;
using store::WalChunkType;

// The fields of a version edit, RocksDB's db/version_edit.h. Those with a number above kIgnorable
// are a length and bytes, so that a reader may skip what it does not know.
enum Tag : uint64_t {
  kComparator = 1,
  kLogNumber = 2,
  kNextFileNumber = 3,
  kLastSequence = 4,
  kCompactCursor = 5,
  kDeletedFile = 6,
  kPrevLogNumber = 9,
  kMinLogNumberToKeep = 10,
  kNewFile4 = 103,
  kColumnFamily = 200,
  kColumnFamilyAdd = 201,
  kColumnFamilyDrop = 202,
  kMaxColumnFamily = 203,
  kInAtomicGroup = 300,
  kIgnorable = 1 << 13,
};
constexpr uint64_t kNewFileEnd = 1;  // of the custom fields of kNewFile4

bool SkipVarints(std::string_view* in, int n) {
  uint64_t ignored = 0;
  while (n-- > 0) {
    if (!ConsumeVarint(in, &ignored)) return false;
  }
  return true;
}

bool SkipBytes(std::string_view* in) {
  std::string_view ignored;
  return ConsumeLengthPrefixed(in, &ignored);
}

bool SkipNewFile(std::string_view* in) {
  // Level, number and size; smallest and largest key; their sequence numbers.
  if (!SkipVarints(in, 3) || !SkipBytes(in) || !SkipBytes(in) || !SkipVarints(in, 2)) return false;
  for (uint64_t field = 0; ConsumeVarint(in, &field);) {
    if (field == kNewFileEnd) return true;
    if (!SkipBytes(in)) return false;
  }
  return false;
}

// From which WAL file on each column family that exists has unflushed data.
class LogNumbers {
 public:
  // False when the edit holds anything not known here.
  bool Take(std::string_view edit) {
    uint64_t family = 0;
    std::optional<uint64_t> log_number;
    bool dropped = false;
    while (!edit.empty()) {
      uint64_t tag = 0;
      if (!ConsumeVarint(&edit, &tag)) return false;
      bool ok = true;
      switch (tag) {
        case kColumnFamily:
          ok = ConsumeVarint(&edit, &family);
          break;
        case kLogNumber:
          ok = ConsumeVarint(&edit, &log_number.emplace());
          break;
        case kColumnFamilyDrop:
          dropped = true;
          break;
        case kNextFileNumber:
        case kLastSequence:
        case kPrevLogNumber:
        case kMinLogNumberToKeep:
        case kMaxColumnFamily:
        case kInAtomicGroup:
          ok = SkipVarints(&edit, 1);
          break;
        case kDeletedFile:
          ok = SkipVarints(&edit, 2);
          break;
        case kCompactCursor:
          ok = SkipVarints(&edit, 1) && SkipBytes(&edit);
          break;
        case kNewFile4:
          ok = SkipNewFile(&edit);
          break;
        case kComparator:
        case kColumnFamilyAdd:
          ok = SkipBytes(&edit);
          break;
        default:
          ok = tag > kIgnorable && SkipBytes(&edit);
      }
      if (!ok) return false;
    }
    if (log_number) by_family_[family] = std::max(by_family_[family], *log_number);
    if (dropped) by_family_.erase(family);
    return true;
  }

  uint64_t highest() const {
    uint64_t highest = 0;
    for (const auto& [family, number] : by_family_) highest = std::max(highest, number);
    return highest;
  }

 private:
  std::map<uint64_t, uint64_t> by_family_;
};

// The highest log number in the MANIFEST; nothing when it can't be told.
std::optional<uint64_t> HighestLogNumber(const ManifestFile& manifest) {
  LogNumbers numbers;
  std::string record;
  bool is_understood = true;
  // A cut-off end is an edit that never was.
  (void)WalkChunks(manifest, [&](const WalChunk& chunk) {
    if (chunk.type == WalChunkType::kFull || chunk.type == WalChunkType::kFirst) record.clear();
    record.append(chunk.payload);
    const bool ends = chunk.type == WalChunkType::kFull || chunk.type == WalChunkType::kLast;
    if (ends && is_understood) is_understood = numbers.Take(record);
  });
  if (!is_understood) return std::nullopt;
  return numbers.highest();
}

}  // namespace

Status CheckNewestWalIsThere(const std::string& db_path) {
  const std::optional<ManifestFile> manifest = ReadManifest(db_path);
  if (!manifest) return Status::Ok();
  const std::optional<uint64_t> highest = HighestLogNumber(*manifest);
  if (!highest) return Status::Ok();
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<store::WalFile> files, store::WalFiles(db_path));
  if (!files.empty() && files.back().number >= *highest) return Status::Ok();
  return Status(Code::kCorruption,
                "a WAL file is missing in " + db_path + ": " + manifest->name +
                    " speaks of number " + std::to_string(*highest) + ", but the newest there is " +
                    (files.empty() ? "none" : std::to_string(files.back().number)) +
                    ". Writes that were acknowledged may be lost with it, and a start would not "
                    "notice: restore the directory from a backup, or remove it and let the node "
                    "join anew");
}

}  // namespace raftkv::wal
