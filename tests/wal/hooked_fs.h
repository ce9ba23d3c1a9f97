// A file system under RocksDB whose every change can be watched, held up, or made to fail.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "store/wal_file_system.h"

namespace raftkv::wal {

enum class FileOp { kCreate, kAppend, kSync, kRename, kDelete, kTruncate, kLink };

// Thread-safe.
class HookedFileSystem : public rocksdb::FileSystemWrapper {
 public:
  // Called before each change, on the thread that makes it. What it returns, unless OK, is the
  // operation's result, and nothing is changed.
  using Hook = std::function<rocksdb::IOStatus(FileOp op, const std::string& path)>;

  HookedFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "HookedFileSystem"; }

  void SetHook(Hook hook);

  // How many bytes of each file have been synced; files never opened for writing here are absent.
  std::map<std::string, uint64_t> SyncedBytes() const;

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override;

  // For the files it hands out.
  rocksdb::IOStatus Before(FileOp op, const std::string& path);
  void NoteSynced(const std::string& path, uint64_t bytes);

 private:
  mutable std::mutex mutex_;
  Hook hook_;
  std::map<std::string, uint64_t> synced_;
};

// A hooked file system and the Env to hand to the engine. Must outlive the engine. The zeros that
// are written ahead in the WAL are not seen by the hook.
struct HookedEnv {
  explicit HookedEnv(uint64_t wal_fill_bytes = 0)
      : fs(std::make_shared<HookedFileSystem>()),
        env(rocksdb::NewCompositeEnv(
            store::NewWalFileSystem(fs, wal_fill_bytes, store::WalReading::kAtRest))) {}
  std::shared_ptr<HookedFileSystem> fs;
  std::unique_ptr<rocksdb::Env> env;
};

inline bool IsWal(const std::string& path) { return path.ends_with(".log"); }

// A copy of `from` as a power failure would leave it: of each file only what was synced.
void CopyAsAfterPowerLoss(const HookedFileSystem& fs, const std::string& from,
                          const std::string& to);

}  // namespace raftkv::wal
