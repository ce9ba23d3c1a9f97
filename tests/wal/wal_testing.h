// What the engine's and the log's tests share: directories, nodes, and crashes.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/types.h"
#include "store/engine.h"

namespace raftkv::wal {

// A directory of its own, removed at the end. In memory where syncs need not be real: tests that
// crash say themselves what a power failure leaves.
class TempDir {
 public:
  enum Where { kDisk, kMemory };
  explicit TempDir(Where where = kDisk);
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // A path inside it; nothing is made.
  std::string Sub(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Small buffers, so that tests are quick and flushes can be provoked.
store::EngineOptions TestOptions(const std::string& path);
store::NodeIdentity TestIdentity();

// Bootstraps node 1 of three at `path`, with the log's first records.
Status BootstrapNode(const std::string& path, rocksdb::Env* env = nullptr);

// Scans the WAL and opens with its verdict, as a starting node does.
StatusOr<std::unique_ptr<store::Engine>> ScanAndOpen(const std::string& path,
                                                     rocksdb::Env* env = nullptr);

Entry MakeEntry(uint64_t index, uint64_t term, const std::string& payload);

// A sorted table for Engine::StageKv, of these keys and values. Returns its path.
std::string MakeKvTable(const std::string& path, const std::map<std::string, std::string>& pairs,
                        rocksdb::Env* env = nullptr);

// Copies a directory as it is: what a process killed now would leave, because the kernel keeps
// what was written.
void CopyDirectory(const std::string& from, const std::string& to);

// Names, sizes, contents and modification times of everything in a directory, as one string.
std::string DirectoryFingerprint(const std::string& path);

std::string ReadFileBytes(const std::string& path);
void WriteFileBytes(const std::string& path, const std::string& bytes);

// How far the log in a WAL file goes; there may be zeros behind it (store/wal_file_system.h).
uint64_t LogBytes(const std::string& wal);
// Cuts such zeros off, as closing the file does.
void CutZeros(const std::string& wal);

// Paths of the WAL files in a database directory, oldest first.
std::vector<std::string> WalPaths(const std::string& db_path);

}  // namespace raftkv::wal
