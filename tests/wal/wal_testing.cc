#include "wal/wal_testing.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

#include <rocksdb/sst_file_writer.h>

#include "common/crc32c.h"
#include "raft/core.h"
#include "store/engine_files.h"
#include "store/engine_options.h"
#include "wal/log_store.h"
#include "wal/wal_file_scan.h"
#include "wal/wal_scanner.h"

namespace raftkv::wal {

namespace fs = std::filesystem;

TempDir::TempDir(Where where) {
  const fs::path memory = "/dev/shm";
  const fs::path parent =
      where == kMemory && access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path();
  std::string pattern = (parent / "raftkv_wal_test.XXXXXX").string();
  RAFTKV_CHECK(mkdtemp(pattern.data()) != nullptr, "cannot make a temporary directory");
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

store::EngineOptions TestOptions(const std::string& path) {
  store::EngineOptions options;
  options.path = path;
  options.block_cache_bytes = 8 << 20;
  options.kv_memtable_bytes = 1 << 20;
  options.log_memtable_bytes = 1 << 20;
  options.wal_bytes_max = 64 << 20;
  return options;
}

store::NodeIdentity TestIdentity() {
  store::NodeIdentity identity;
  identity.cluster = ClusterId(77);
  identity.node = NodeId(1);
  identity.node_name = "n1";
  return identity;
}

Status BootstrapNode(const std::string& path, rocksdb::Env* env) {
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  store::EngineOptions options = TestOptions(path);
  options.env = env;
  return store::Engine::Bootstrap(options, TestIdentity(), LogStore::BootstrapRecords(membership));
}

StatusOr<std::unique_ptr<store::Engine>> ScanAndOpen(const std::string& path, rocksdb::Env* env) {
  RAFTKV_ASSIGN_OR_RETURN(const WalScan scan, ScanWalFiles(path));
  store::EngineOptions options = TestOptions(path);
  options.wal_recovery = scan.recovery;
  options.env = env;
  return store::Engine::Open(options);
}

Entry MakeEntry(uint64_t index, uint64_t term, const std::string& payload) {
  return Entry{Index(index), Term(term), EntryKind::kCommand,
               std::make_shared<const std::string>(payload)};
}

std::string MakeKvTable(const std::string& path, const std::map<std::string, std::string>& pairs,
                        rocksdb::Env* env) {
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), store::StagedTableOptions(env));
  RAFTKV_CHECK(writer.Open(path).ok(), "cannot make the table " + path);
  for (const auto& [key, value] : pairs) RAFTKV_CHECK(writer.Put(key, value).ok(), key);
  RAFTKV_CHECK(writer.Finish().ok(), "cannot finish the table " + path);
  return path;
}

void CopyDirectory(const std::string& from, const std::string& to) {
  fs::create_directories(to);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    // RocksDB deletes files in the background; one that is gone by now is gone.
    fs::copy_file(entry.path(), fs::path(to) / entry.path().filename(),
                  fs::copy_options::overwrite_existing, error);
  }
}

std::string DirectoryFingerprint(const std::string& path) {
  std::vector<std::string> lines;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path)) {
    std::ostringstream line;
    line << entry.path().string() << ' ' << entry.last_write_time().time_since_epoch().count();
    if (entry.is_regular_file()) {
      line << ' ' << entry.file_size() << ' ' << Crc32c(ReadFileBytes(entry.path().string()));
    }
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

std::string ReadFileBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

void WriteFileBytes(const std::string& path, const std::string& bytes) {
  // Not truncated first: ext4 would write the file out at once, and tests do this thousands of
  // times.
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  RAFTKV_CHECK(fd >= 0, "cannot open " + path);
  const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), 0);
  RAFTKV_CHECK(written == static_cast<ssize_t>(bytes.size()), "cannot write " + path);
  RAFTKV_CHECK(ftruncate(fd, written) == 0, "cannot cut " + path);
  close(fd);
}

uint64_t LogBytes(const std::string& wal) {
  const uint64_t number = store::WalNumber(fs::path(wal).filename().string());
  const StatusOr<WalFileScan> scan = ScanWalFile(wal, number);
  return scan.ok() ? scan->report.bytes : 0;  // it may have been deleted
}

void CutZeros(const std::string& wal) { fs::resize_file(wal, LogBytes(wal)); }

std::vector<std::string> WalPaths(const std::string& db_path) {
  std::vector<std::string> paths;
  const StatusOr<std::vector<store::WalFile>> files = store::WalFiles(db_path);
  for (const store::WalFile& file : *files) paths.push_back(file.path);
  return paths;
}

}  // namespace raftkv::wal
