#include "store/wal_file_system.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/engine_files.h"
#include "store/table_file_system.h"
#include "store/wal_format.h"

namespace raftkv::store {
namespace {

using rocksdb::DataVerificationInfo;
using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr uint64_t kPageBytes = 4096;

// On average; see FilledFile::Appended.
constexpr uint64_t kFillAppendMax = 64 << 10;

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

// A file in use, and a second handle to write the zeros with. RocksDB appends by one thread at a
// time; a sync, by another, touches nothing here.
class FilledFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FilledFile(std::unique_ptr<rocksdb::FSWritableFile> file,
             std::shared_ptr<rocksdb::FileSystem> base, std::string path,
             const FileOptions& options, uint64_t fill_bytes)
      : FSWritableFileOwnerWrapper(std::move(file)),
        base_(std::move(base)),
        path_(std::move(path)),
        options_(options),
        fill_bytes_(fill_bytes) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    return status.ok() ? Appended(data.size(), options, debug) : status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const DataVerificationInfo& info,
                  IODebugContext* debug) override {
    const IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, info, debug);
    return status.ok() ? Appended(data.size(), options, debug) : status;
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    const IOStatus status = FSWritableFileOwnerWrapper::Truncate(size, options, debug);
    if (status.ok()) size_ = filled_ = size;
    return status;
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    // That they go is good for nobody who reads through this file system: it may fail. It is not
    // synced either, so a crash can bring them back, even if a newer file is there by then.
    if (ahead_) {
      FSWritableFileOwnerWrapper::Truncate(size_, options, debug);
      ahead_->Close(options, debug);
      ahead_.reset();
    }
    return FSWritableFileOwnerWrapper::Close(options, debug);
  }

 private:
  IOStatus Appended(size_t bytes, const IOOptions& options, IODebugContext* debug) {
    size_ += bytes;
    ++appends_;
    if (size_ <= filled_ || size_ < next_look_) return IOStatus::OK();
    // Each append is followed by a sync. Where they are large, few journal commits are saved, and
    // writing every byte twice costs more: this MiB goes without, and then it is looked at again.
    const bool large = looked_at_ > 0 && (size_ - looked_at_) / appends_ > kFillAppendMax;
    looked_at_ = size_;
    appends_ = 0;
    if (large) {
      next_look_ = size_ + fill_bytes_;
      return IOStatus::OK();
    }
    // Not before: who only empties a file that RocksDB may delete meanwhile could not open it
    // twice.
    if (!ahead_) {
      const IOStatus opened = base_->NewRandomRWFile(path_, options_, &ahead_, debug);
      if (!opened.ok()) return opened;
    }
    // Behind what was just written: a large write is not written twice.
    filled_ = size_;
    // Page by page: Linux keeps what is written at once together, and would count all of that as
    // written again with each sync of a part.
    static const std::string zeros(kPageBytes, '\0');
    for (const uint64_t end = RoundUp(size_ + fill_bytes_, kPageBytes); filled_ < end;) {
      const uint64_t piece = kPageBytes - filled_ % kPageBytes;
      const IOStatus status = ahead_->Write(filled_, Slice(zeros.data(), piece), options, debug);
      // Room for what is to be logged may still be found.
      if (status.IsNoSpace()) break;
      if (!status.ok()) return status;
      filled_ += piece;
    }
    return IOStatus::OK();
  }

  const std::shared_ptr<rocksdb::FileSystem> base_;
  const std::string path_;
  const FileOptions options_;
  const uint64_t fill_bytes_;
  std::unique_ptr<rocksdb::FSRandomRWFile> ahead_;
  uint64_t size_ = 0;       // of what was appended
  uint64_t filled_ = 0;     // up to there are zeros behind it
  uint64_t looked_at_ = 0;  // how large it was when appends were last looked at, to fill or not
  uint64_t next_look_ = 0;  // not before it is so large
  uint64_t appends_ = 0;    // since looked_at_
};

// A file that is opened again: RocksDB cuts the last one after a recovery, to give back what is
// allocated, though it is about to delete it. That writes the page of the log's end anew. Where a
// sync had failed and the machine went on, what is before that page is only in the page cache:
// after a power failure there would be a hole. So the file is left as it is.
class UncutFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
  IOStatus Truncate(uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
};

// Where the log ends in a file whose bytes from `data_end` on are zeros: there, or a little later
// where its last chunk ends in zeros of its own. Nothing where that can't be told: what is there
// before the zeros is a write that was cut off or is under way, or damage.
IOStatus FindLogEnd(rocksdb::FSRandomAccessFile* file, uint64_t file_number, uint64_t data_end,
                    const IOOptions& options, IODebugContext* debug, std::optional<uint64_t>* out) {
  *out = data_end;
  if (data_end == 0) return IOStatus::OK();
  const uint64_t base = (data_end - 1) / kWalBlockBytes * kWalBlockBytes;
  std::string buffer(kWalBlockBytes, '\0');
  Slice got;
  const IOStatus status = file->Read(base, kWalBlockBytes, options, &got, buffer.data(), debug);
  if (!status.ok()) return status;
  const std::string_view block(got.data(), got.size());
  size_t offset = 0;
  while (base + offset < data_end) {
    const WalChunk chunk = ReadWalChunk(block, offset, file_number);
    if (chunk.error != WalChunkError::kNone) {
      out->reset();
      return IOStatus::OK();
    }
    offset += chunk.bytes;
  }
  *out = base + offset;
  return IOStatus::OK();
}

// A file as if it ended where its log ends.
class LogReader : public rocksdb::FSSequentialFile {
 public:
  LogReader(std::unique_ptr<rocksdb::FSRandomAccessFile> file, uint64_t number, WalReading reading)
      : file_(std::move(file)), number_(number), reading_(reading) {}

  IOStatus Read(size_t n, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* debug) override {
    *result = Slice(scratch, 0);
    if (offset_ >= end_) {
      // At the beginning, and wherever it ended before: more may have been written.
      const IOStatus found = FindEnd(options, debug);
      if (!found.ok()) return found;
      if (offset_ >= end_) return IOStatus::OK();
    }
    const IOStatus status = file_->Read(offset_, std::min<uint64_t>(n, end_ - offset_), options,
                                        result, scratch, debug);
    if (status.ok()) offset_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t n) override {
    offset_ += n;
    return IOStatus::OK();
  }

 private:
  IOStatus FindEnd(const IOOptions& options, IODebugContext* debug) {
    uint64_t data_end = offset_;
    uint64_t file_end = offset_;
    std::string buffer(256 << 10, '\0');
    for (;;) {
      Slice got;
      const IOStatus status =
          file_->Read(file_end, buffer.size(), options, &got, buffer.data(), debug);
      if (!status.ok()) return status;
      const size_t last = std::string_view(got.data(), got.size()).find_last_not_of('\0');
      if (last != std::string_view::npos) data_end = file_end + last + 1;
      file_end += got.size();
      if (got.size() < buffer.size()) break;
    }
    end_ = data_end;
    if (data_end == offset_) return IOStatus::OK();
    std::optional<uint64_t> end;
    const IOStatus status = FindLogEnd(file_.get(), number_, data_end, options, debug, &end);
    if (!status.ok()) return status;
    if (end) {
      end_ = *end;
    } else if (reading_ == WalReading::kAtRest) {
      // An intact chunk behind damage may end in zeros, and must be seen whole, or the damage would
      // look like a write that was cut off. It ends in its block. Beside a writer it is a write
      // under way, and is to look like one: it ends where it got to.
      end_ = std::min(RoundUp(data_end, kWalBlockBytes), file_end);
    }
    return IOStatus::OK();
  }

  const std::unique_ptr<rocksdb::FSRandomAccessFile> file_;
  const uint64_t number_;
  const WalReading reading_;
  uint64_t offset_ = 0;
  uint64_t end_ = 0;
};

// 0: it is no WAL file.
uint64_t NumberOf(const std::string& path) { return WalNumber(path.substr(path.rfind('/') + 1)); }
bool IsWal(const std::string& path) { return NumberOf(path) != 0; }

class WalFileSystem : public rocksdb::FileSystemWrapper {
 public:
  WalFileSystem(std::shared_ptr<rocksdb::FileSystem> base, uint64_t fill_bytes, WalReading reading)
      : FileSystemWrapper(base),
        base_(std::move(base)),
        fill_bytes_(fill_bytes),
        reading_(reading) {}
  const char* Name() const override { return "raftkv.WalFileSystem"; }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* out,
                           IODebugContext* debug) override {
    const IOStatus status = FileSystemWrapper::NewWritableFile(path, options, out, debug);
    if (status.ok() && fill_bytes_ > 0 && IsWal(path)) {
      *out = std::make_unique<FilledFile>(std::move(*out), base_, path, options, fill_bytes_);
    }
    return status;
  }

  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* out,
                              IODebugContext* debug) override {
    const IOStatus status = FileSystemWrapper::ReopenWritableFile(path, options, out, debug);
    if (status.ok() && IsWal(path)) *out = std::make_unique<UncutFile>(std::move(*out));
    return status;
  }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* out,
                             IODebugContext* debug) override {
    if (!IsWal(path)) return FileSystemWrapper::NewSequentialFile(path, options, out, debug);
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    const IOStatus status = FileSystemWrapper::NewRandomAccessFile(path, options, &file, debug);
    if (status.ok()) *out = std::make_unique<LogReader>(std::move(file), NumberOf(path), reading_);
    return status;
  }

  // Of its log. RocksDB copies so many bytes of one in use when it makes a checkpoint: never more
  // than can be read then.
  IOStatus GetFileSize(const std::string& path, const IOOptions& options, uint64_t* size,
                       IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::GetFileSize(path, options, size, debug);
    if (!status.ok() || *size == 0 || !IsWal(path)) return status;
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    status = FileSystemWrapper::NewRandomAccessFile(path, FileOptions(), &file, debug);
    if (!status.ok()) return status;
    std::string buffer(256 << 10, '\0');
    for (uint64_t end = *size; *size == end && end > 0;) {
      const uint64_t begin = end - std::min<uint64_t>(buffer.size(), end);
      Slice got;
      status = file->Read(begin, end - begin, options, &got, buffer.data(), debug);
      if (!status.ok()) return status;
      end = begin;
      *size = begin + std::string_view(got.data(), got.size()).find_last_not_of('\0') + 1;
    }
    std::optional<uint64_t> end;
    status = FindLogEnd(file.get(), NumberOf(path), *size, options, debug, &end);
    if (end) *size = *end;
    return status;
  }

 private:
  const std::shared_ptr<rocksdb::FileSystem> base_;
  const uint64_t fill_bytes_;
  const WalReading reading_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> NewWalFileSystem(std::shared_ptr<rocksdb::FileSystem> base,
                                                      uint64_t fill_bytes, WalReading reading) {
  return std::make_shared<WalFileSystem>(std::move(base), fill_bytes, reading);
}

rocksdb::Env* DefaultEnv(WalReading reading) {
  const auto make = [](WalReading wanted) {
    // RocksDB's own is never destroyed either: background threads outlive main.
    return rocksdb::NewCompositeEnv(NewTableFileSystem(NewWalFileSystem(
                                        rocksdb::FileSystem::Default(), kWalFillBytes, wanted)))
        .release();
  };
  if (reading == WalReading::kWhileWritten) {
    static rocksdb::Env* const live = make(WalReading::kWhileWritten);
    return live;
  }
  static rocksdb::Env* const env = make(WalReading::kAtRest);
  return env;
}

}  // namespace raftkv::store
