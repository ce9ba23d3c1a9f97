// One of RocksDB's WAL files, and its MANIFEST, read before RocksDB does (src/wal/wal_file_scan.h,
// manifest_file.h, manifest_check.h), and the WAL's records as raftkv-dump shows them. The first
// byte chooses which, and whether the chunks' checksums are put right first: no fuzzer guesses
// them.
#include <filesystem>
#include <fstream>

#include <stdlib.h>

#include "common/crc32c.h"
#include "fuzz/fuzz.h"
#include "store/wal_format.h"
#include "tools/dump/wal_records.h"
#include "wal/manifest_check.h"
#include "wal/manifest_file.h"
#include "wal/wal_file_scan.h"

namespace raftkv::fuzz {
namespace {

constexpr uint64_t kFileNumber = 12;

// Walks the chunks by their lengths, as far as they go.
void FixChecksums(std::string* file) {
  for (size_t at = 0; at + store::kWalChunkHeaderBytes <= file->size();) {
    const size_t left = store::kWalBlockBytes - at % store::kWalBlockBytes;
    if (left < store::kWalChunkHeaderBytes) {
      at += left;
      continue;
    }
    const auto byte = [&](size_t i) { return static_cast<uint8_t>((*file)[at + i]); };
    const size_t length = byte(4) | static_cast<size_t>(byte(5)) << 8;
    const bool recyclable = byte(6) >= 5 && byte(6) <= 8;
    const size_t bytes =
        (recyclable ? store::kRecyclableHeaderBytes : store::kWalChunkHeaderBytes) + length;
    if (bytes > left || at + bytes > file->size()) return;
    if (recyclable) (*file)[at + 7] = static_cast<char>(kFileNumber);
    const uint32_t crc = Crc32c(std::string_view(*file).substr(at + 6, bytes - 6));
    std::string stored;
    AppendLittleEndian32(&stored, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
    file->replace(at, 4, stored);
    at += bytes;
  }
}

// A database directory that holds only the two files that the check reads.
class ManifestDirectory {
 public:
  ManifestDirectory() {
    std::string path = std::filesystem::exists("/dev/shm") ? "/dev/shm/raftkv-fuzz-XXXXXX"
                                                           : "/tmp/raftkv-fuzz-XXXXXX";
    Require(mkdtemp(path.data()) != nullptr, "no temporary directory");
    path_ = path;
    std::ofstream(path_ + "/CURRENT") << "MANIFEST-000012\n";
  }
  ~ManifestDirectory() { std::filesystem::remove_all(path_); }

  void Check(const std::string& bytes) const {
    std::ofstream(path_ + "/MANIFEST-000012", std::ios::binary | std::ios::trunc) << bytes;
    const std::optional<wal::ManifestFile> manifest = wal::ReadManifest(path_);
    Require(manifest && manifest->number == kFileNumber && manifest->bytes == bytes,
            "a MANIFEST that is there was not read");
    uint64_t read = 0;
    const auto stop =
        wal::WalkChunks(*manifest, [&](const store::WalChunk& chunk) { read += chunk.bytes; });
    Require(read <= (stop ? stop->offset : bytes.size()), "chunks overlap");
    Require(!stop || stop->offset < bytes.size(), "an offset beyond the file");
    Require(stop || wal::CheckManifest(path_).ok(), "a whole MANIFEST was found damaged");
    if (stop) (void)wal::CheckManifest(path_);
  }

 private:
  std::string path_;
};

}  // namespace

FUZZ_TARGET(wal_file) {
  const uint8_t choice = TakeByte(&input);
  std::string bytes(input);
  if ((choice & 1) != 0) FixChecksums(&bytes);
  if ((choice & 2) != 0) {
    static const ManifestDirectory directory;
    return directory.Check(bytes);
  }
  const MemoryFile file(bytes);
  if ((choice & 4) != 0) {
    store::WalFile wal_file;
    wal_file.number = kFileNumber;
    wal_file.path = file.path();
    (void)tools::dump::ForEachWalRecord(wal_file, [](const tools::dump::WalRecord&) {});
    return;
  }
  const StatusOr<wal::WalFileScan> scan = wal::ScanWalFile(file.path(), kFileNumber);
  Require(scan.ok(), "a file that can be read was not");
  Require(scan->report.bytes == bytes.size(), "the scan did not see the whole file");
  Require(scan->report.valid_bytes <= bytes.size() && scan->damage_offset <= bytes.size(),
          "an offset beyond the file");
  Require(scan->report.writes <= scan->report.records, "more writes than records");
}

}  // namespace raftkv::fuzz
