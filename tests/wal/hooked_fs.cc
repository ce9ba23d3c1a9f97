#include "wal/hooked_fs.h"

#include <filesystem>
#include <utility>

#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

class HookedFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  // `bytes_before`: what was in the file when it was opened, which its size does not count.
  HookedFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, std::string path,
             HookedFileSystem* fs, uint64_t bytes_before = 0)
      : FSWritableFileOwnerWrapper(std::move(file)),
        path_(std::move(path)),
        fs_(fs),
        bytes_before_(bytes_before) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* dbg) override {
    if (rocksdb::IOStatus s = fs_->Before(FileOp::kAppend, path_); !s.ok()) return s;
    return target()->Append(data, options, dbg);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo&,
                           rocksdb::IODebugContext* dbg) override {
    return Append(data, options, dbg);
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* dbg) override {
    if (rocksdb::IOStatus s = fs_->Before(FileOp::kTruncate, path_); !s.ok()) return s;
    return target()->Truncate(size, options, dbg);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* dbg) override {
    return SyncWith(options, dbg, &FSWritableFile::Sync);
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* dbg) override {
    return SyncWith(options, dbg, &FSWritableFile::Fsync);
  }

 private:
  using SyncFunction = rocksdb::IOStatus (FSWritableFile::*)(const rocksdb::IOOptions&,
                                                             rocksdb::IODebugContext*);

  rocksdb::IOStatus SyncWith(const rocksdb::IOOptions& options, rocksdb::IODebugContext* dbg,
                             SyncFunction sync) {
    if (rocksdb::IOStatus s = fs_->Before(FileOp::kSync, path_); !s.ok()) return s;
    const uint64_t bytes = bytes_before_ + target()->GetFileSize(options, dbg);
    rocksdb::IOStatus s = (target()->*sync)(options, dbg);
    if (s.ok()) fs_->NoteSynced(path_, bytes);
    return s;
  }

  const std::string path_;
  HookedFileSystem* const fs_;
  const uint64_t bytes_before_;
};

}  // namespace

void HookedFileSystem::SetHook(Hook hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

std::map<std::string, uint64_t> HookedFileSystem::SyncedBytes() const {
  std::lock_guard lock(mutex_);
  return synced_;
}

rocksdb::IOStatus HookedFileSystem::Before(FileOp op, const std::string& path) {
  Hook hook;
  {
    std::lock_guard lock(mutex_);
    hook = hook_;
  }
  return hook ? hook(op, path) : rocksdb::IOStatus::OK();
}

void HookedFileSystem::NoteSynced(const std::string& path, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  synced_[path] = bytes;
}

rocksdb::IOStatus HookedFileSystem::NewWritableFile(const std::string& path,
                                                    const rocksdb::FileOptions& options,
                                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                    rocksdb::IODebugContext* dbg) {
  if (rocksdb::IOStatus s = Before(FileOp::kCreate, path); !s.ok()) return s;
  std::unique_ptr<rocksdb::FSWritableFile> inner;
  rocksdb::IOStatus s = target()->NewWritableFile(path, options, &inner, dbg);
  if (!s.ok()) return s;
  NoteSynced(path, 0);
  *file = std::make_unique<HookedFile>(std::move(inner), path, this);
  return s;
}

rocksdb::IOStatus HookedFileSystem::ReopenWritableFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* file, rocksdb::IODebugContext* dbg) {
  std::unique_ptr<rocksdb::FSWritableFile> inner;
  rocksdb::IOStatus s = target()->ReopenWritableFile(path, options, &inner, dbg);
  if (!s.ok()) return s;
  const uint64_t bytes = std::filesystem::file_size(path);
  *file = std::make_unique<HookedFile>(std::move(inner), path, this, bytes);
  return s;
}

rocksdb::IOStatus HookedFileSystem::LinkFile(const std::string& from, const std::string& to,
                                             const rocksdb::IOOptions& options,
                                             rocksdb::IODebugContext* dbg) {
  if (rocksdb::IOStatus s = Before(FileOp::kLink, to); !s.ok()) return s;
  rocksdb::IOStatus s = target()->LinkFile(from, to, options, dbg);
  if (!s.ok()) return s;
  std::lock_guard lock(mutex_);
  if (const auto it = synced_.find(from); it != synced_.end()) synced_[to] = it->second;
  return s;
}

rocksdb::IOStatus HookedFileSystem::RenameFile(const std::string& from, const std::string& to,
                                               const rocksdb::IOOptions& options,
                                               rocksdb::IODebugContext* dbg) {
  if (rocksdb::IOStatus s = Before(FileOp::kRename, from); !s.ok()) return s;
  rocksdb::IOStatus s = target()->RenameFile(from, to, options, dbg);
  if (!s.ok()) return s;
  std::lock_guard lock(mutex_);
  if (const auto it = synced_.find(from); it != synced_.end()) {
    synced_[to] = it->second;
    synced_.erase(it);
  }
  return s;
}

rocksdb::IOStatus HookedFileSystem::DeleteFile(const std::string& path,
                                               const rocksdb::IOOptions& options,
                                               rocksdb::IODebugContext* dbg) {
  if (rocksdb::IOStatus s = Before(FileOp::kDelete, path); !s.ok()) return s;
  return target()->DeleteFile(path, options, dbg);
}

void CopyAsAfterPowerLoss(const HookedFileSystem& fs, const std::string& from,
                          const std::string& to) {
  // In this order, so that what is synced between the two steps is not counted.
  const std::map<std::string, uint64_t> synced = fs.SyncedBytes();
  CopyDirectory(from, to);
  for (const auto& entry : std::filesystem::directory_iterator(to)) {
    const std::string name = entry.path().filename().string();
    const auto it = synced.find(from + "/" + name);
    if (it != synced.end() && entry.file_size() > it->second) {
      std::filesystem::resize_file(entry.path(), it->second);
    }
  }
}

}  // namespace raftkv::wal
