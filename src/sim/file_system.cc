#include "sim/file_system.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

namespace raftkv::sim {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus ToStatus(DiskResult result, const std::string& path) {
  switch (result) {
    case DiskResult::kOk:
      return IOStatus::OK();
    case DiskResult::kNotFound:
      return IOStatus::PathNotFound(path, "simulated: No such file or directory");
    case DiskResult::kExists:
      return IOStatus::IOError(path, "simulated: File exists");
    case DiskResult::kNotEmpty:
      return IOStatus::IOError(path, "simulated: Directory not empty");
    case DiskResult::kNoSpace:
      return IOStatus::NoSpace(path, "simulated: No space left on device");
    case DiskResult::kShort:
    case DiskResult::kIoError:
      break;
  }
  return IOStatus::IOError(path, "simulated: Input/output error");
}

IOStatus ReadAt(SimDisk* disk, const std::string& path, const Inode& file, uint64_t offset,
                size_t n, Slice* result, char* scratch) {
  std::string_view bytes;
  const DiskResult read = disk->Read(path, file, offset, n, &bytes);
  if (read != DiskResult::kOk) return ToStatus(read, path);
  std::memcpy(scratch, bytes.data(), bytes.size());
  *result = Slice(scratch, bytes.size());
  return IOStatus::OK();
}

class SequentialFile : public rocksdb::FSSequentialFile {
 public:
  SequentialFile(SimDisk* disk, std::string path, InodePtr file)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)) {}

  IOStatus Read(size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    const IOStatus status = ReadAt(disk_, path_, *file_, offset_, n, result, scratch);
    if (status.ok()) offset_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t n) override {
    offset_ += n;
    return IOStatus::OK();
  }

 private:
  SimDisk* const disk_;
  const std::string path_;
  const InodePtr file_;
  uint64_t offset_ = 0;
};

class RandomAccessFile : public rocksdb::FSRandomAccessFile {
 public:
  RandomAccessFile(SimDisk* disk, std::string path, InodePtr file)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)) {}

  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return ReadAt(disk_, path_, *file_, offset, n, result, scratch);
  }
  IOStatus Prefetch(uint64_t, size_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  SimDisk* const disk_;
  const std::string path_;
  const InodePtr file_;
};

// Appends where it got to, as the POSIX one does: another handle may have written behind that.
class WritableFile : public rocksdb::FSWritableFile {
 public:
  WritableFile(SimDisk* disk, std::string path, InodePtr file)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)), size_(file_->data.size()) {}

  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    const DiskResult result = disk_->Write(path_, file_.get(), size_, {data.data(), data.size()});
    if (result == DiskResult::kOk) size_ += data.size();
    return ToStatus(result, path_);
  }
  IOStatus Truncate(uint64_t size, const IOOptions&, IODebugContext*) override {
    size_ = size;
    if (size == file_->data.size()) return IOStatus::OK();
    return ToStatus(disk_->Truncate(path_, file_.get(), size), path_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->Sync(path_, file_.get()), path_);
  }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->Sync(path_, file_.get()), path_);
  }
  bool IsSyncThreadSafe() const override { return true; }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return size_; }

 private:
  SimDisk* const disk_;
  const std::string path_;
  const InodePtr file_;
  uint64_t size_;
};

class RandomRWFile : public rocksdb::FSRandomRWFile {
 public:
  RandomRWFile(SimDisk* disk, std::string path, InodePtr file)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)) {}

  IOStatus Write(uint64_t offset, const Slice& data, const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->Write(path_, file_.get(), offset, {data.data(), data.size()}), path_);
  }
  IOStatus Read(uint64_t offset, size_t n, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return ReadAt(disk_, path_, *file_, offset, n, result, scratch);
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->Sync(path_, file_.get()), path_);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  SimDisk* const disk_;
  const std::string path_;
  const InodePtr file_;
};

class Directory : public rocksdb::FSDirectory {
 public:
  Directory(SimDisk* disk, std::string path) : disk_(disk), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->SyncDir(path_), path_);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  SimDisk* const disk_;
  const std::string path_;
};

class NullLogger : public rocksdb::Logger {
 public:
  NullLogger() : Logger(rocksdb::InfoLogLevel::FATAL_LEVEL) {}
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
  size_t GetLogFileSize() const override { return 0; }  // or RocksDB would begin a new one
};

struct Lock : public rocksdb::FileLock {
  explicit Lock(std::string locked) : path(std::move(locked)) {}
  const std::string path;
};

class SimFileSystem : public rocksdb::FileSystem {
 public:
  SimFileSystem(SimDisk* disk, const SimClock* clock) : disk_(disk), clock_(clock) {}
  const char* Name() const override { return "SimFileSystem"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* out,
                             IODebugContext*) override {
    InodePtr file;
    const IOStatus status = OpenFile(path, &file);
    if (status.ok()) *out = std::make_unique<SequentialFile>(disk_, path, file);
    return status;
  }
  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* out,
                               IODebugContext*) override {
    InodePtr file;
    const IOStatus status = OpenFile(path, &file);
    if (status.ok()) *out = std::make_unique<RandomAccessFile>(disk_, path, file);
    return status;
  }
  IOStatus NewWritableFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* out,
                           IODebugContext*) override {
    InodePtr file;
    const DiskResult made = disk_->Create(path, &file);
    if (made == DiskResult::kOk) *out = std::make_unique<WritableFile>(disk_, path, file);
    return ToStatus(made, path);
  }
  IOStatus ReopenWritableFile(const std::string& path, const FileOptions&,
                              std::unique_ptr<rocksdb::FSWritableFile>* out,
                              IODebugContext*) override {
    InodePtr file;
    const IOStatus status = OpenFile(path, &file);
    if (status.ok()) *out = std::make_unique<WritableFile>(disk_, path, file);
    return status;
  }
  IOStatus NewRandomRWFile(const std::string& path, const FileOptions&,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* out,
                           IODebugContext*) override {
    InodePtr file;
    const IOStatus status = OpenFile(path, &file);
    if (status.ok()) *out = std::make_unique<RandomRWFile>(disk_, path, file);
    return status;
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* out, IODebugContext*) override {
    InodePtr found;
    const DiskResult result = disk_->Open(path, &found);
    if (result != DiskResult::kOk) return ToStatus(result, path);
    if (!found->is_directory) return ToStatus(DiskResult::kIoError, path);
    *out = std::make_unique<Directory>(disk_, path);
    return IOStatus::OK();
  }
  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    InodePtr found;
    const DiskResult result = disk_->Open(path, &found);
    if (result == DiskResult::kNotFound) return IOStatus::NotFound(path);
    return ToStatus(result, path);
  }
  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* names,
                       IODebugContext*) override {
    names->clear();
    return ToStatus(disk_->List(path, names), path);
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->Delete(path), path);
  }
  IOStatus Truncate(const std::string& path, size_t size, const IOOptions&,
                    IODebugContext*) override {
    InodePtr file;
    const IOStatus status = OpenFile(path, &file);
    return status.ok() ? ToStatus(disk_->Truncate(path, file.get(), size), path) : status;
  }
  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->MakeDir(path), path);
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&, IODebugContext*) override {
    const InodePtr found = disk_->Find(path);
    if (found && found->is_directory) return IOStatus::OK();
    return ToStatus(disk_->MakeDir(path), path);
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToStatus(disk_->DeleteDir(path), path);
  }
  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    InodePtr file;
    const IOStatus status = OpenFile(path, &file);
    if (status.ok()) *size = file->data.size();
    return status;
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, uint64_t* seconds,
                                   IODebugContext*) override {
    *seconds = clock_->micros / 1'000'000;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    return ToStatus(disk_->Rename(from, to), from);
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&,
                    IODebugContext*) override {
    return ToStatus(disk_->Link(from, to), from);
  }
  IOStatus LockFile(const std::string& path, const IOOptions&, rocksdb::FileLock** lock,
                    IODebugContext*) override {
    InodePtr file;
    if (disk_->Find(path) == nullptr) {
      const DiskResult made = disk_->Create(path, &file);
      if (made != DiskResult::kOk) return ToStatus(made, path);
    }
    if (disk_->dead()) return ToStatus(DiskResult::kIoError, path);
    if (!locked_.insert(path).second) return IOStatus::IOError(path, "simulated: held already");
    *lock = new Lock(path);
    return IOStatus::OK();
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    const std::unique_ptr<Lock> held(static_cast<Lock*>(lock));
    locked_.erase(held->path);
    return IOStatus::OK();
  }
  IOStatus NewLogger(const std::string&, const IOOptions&, std::shared_ptr<rocksdb::Logger>* out,
                     IODebugContext*) override {
    *out = NewNullLogger();
    return IOStatus::OK();
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) override {
    *path = "/test";
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* out,
                           IODebugContext*) override {
    *out = path;
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_directory,
                       IODebugContext*) override {
    InodePtr found;
    const DiskResult result = disk_->Open(path, &found);
    if (result == DiskResult::kOk) *is_directory = found->is_directory;
    return ToStatus(result, path);
  }
  // Without it RocksDB does not start a thread that tries again when the disk was full.
  IOStatus GetFreeSpace(const std::string&, const IOOptions&, uint64_t*, IODebugContext*) override {
    return IOStatus::NotSupported("simulated");
  }

 private:
  IOStatus OpenFile(const std::string& path, InodePtr* file) {
    const DiskResult result = disk_->Open(path, file);
    if (result == DiskResult::kOk && (*file)->is_directory) {
      return ToStatus(DiskResult::kIoError, path);
    }
    return ToStatus(result, path);
  }

  SimDisk* const disk_;
  const SimClock* const clock_;
  std::set<std::string> locked_;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> NewNullLogger() { return std::make_shared<NullLogger>(); }

std::shared_ptr<rocksdb::FileSystem> NewSimFileSystem(SimDisk* disk, const SimClock* clock) {
  return std::make_shared<SimFileSystem>(disk, clock);
}

}  // namespace raftkv::sim
