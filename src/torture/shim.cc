// Loaded into a node (LD_PRELOAD) by raftkv-torture: keeps track of what the node has changed in
// its data directory and not synced (undo_log.h). shim_clock.cc moves its wall clock.
//
//   RAFTKV_TORTURE_DATA   the directory to watch, absolute
//   RAFTKV_TORTURE_LOG    the log; elsewhere than on a disk that is to be full
//   RAFTKV_TORTURE_UNDO   a directory for what deleted files held; on the data's file system
//   RAFTKV_TORTURE_LIE    if set, syncs of RocksDB's WAL and of the fence are taken for none: a
//                         disk that lies about just what an acknowledgement rests on
//
// The calls are made with syscall(), not by looking up the C library's: nothing to set up, whatever
// comes first. Only what a node does is watched: not mmap, not files that were opened by fopen, not
// descriptors that were duplicated. RocksDB's own log (LOG*) is left alone.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "torture/undo_log.h"

namespace {

using raftkv::torture::EncodeUndo;
using raftkv::torture::UndoKind;
using raftkv::torture::UndoRecord;

constexpr size_t kDescriptorsMax = 1 << 16;
enum class Watch : uint8_t { kNo, kFile, kDirectory };

// Which descriptors are watched. Outside of the class: it is asked before anything else.
std::array<std::atomic<Watch>, kDescriptorsMax> watched;

Watch WatchOf(int fd) {
  if (fd < 0 || fd >= static_cast<int>(kDescriptorsMax)) return Watch::kNo;
  return watched[fd].load(std::memory_order_relaxed);
}

void SetWatch(int fd, Watch watch) {
  if (fd >= 0 && fd < static_cast<int>(kDescriptorsMax)) {
    watched[fd].store(watch, std::memory_order_relaxed);
  }
}

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

uint64_t InodeOf(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

std::string Absolute(int directory, const char* path) {
  if (path == nullptr) return "";
  if (path[0] == '/') return path;
  std::array<char, 4096> buffer{};
  const std::string link =
      directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/" + std::to_string(directory);
  const ssize_t size = readlink(link.c_str(), buffer.data(), buffer.size());
  return size <= 0 ? "" : std::string(buffer.data(), size) + "/" + path;
}

// A change that is not noted could not be taken back: the run would prove nothing. Nothing that
// raftkvd ends with by itself.
[[noreturn]] void GiveUp(const char* what) {
  const std::string line =
      std::string("raftkv-torture-shim: can't ") + what + ": " + std::strerror(errno) + "\n";
  (void)!syscall(SYS_write, STDERR_FILENO, line.data(), line.size());
  _exit(raftkv::torture::kShimGaveUp);
}

// Whether the file "PATH/" is one whose loss breaks an acknowledgement.
bool IsPromise(const std::string& path) {
  return path.ends_with(".log/") || path.ends_with("/fence/");
}

class Shim {
 public:
  static Shim& Get() {
    static Shim* const shim = new Shim();  // never destroyed: threads outlive main
    return *shim;
  }

  // Whether syncs of the directory `path` are watched: also of the one that the data is in.
  bool CoversDirectory(const std::string& path) const {
    return Covers(path) || (log_ >= 0 && path == Parent(data_));
  }

  // Whether changes at `path` are watched.
  bool Covers(const std::string& path) const {
    if (log_ < 0 || !path.starts_with(data_)) return false;
    const std::string name = path.substr(path.rfind('/') + 1);
    return !name.starts_with("LOG") || name == "LOG.lock";
  }

  // These note what is about to change, and do it, under one lock: in the order of the log.
  template <typename Change>
  auto Names(UndoKind kind, const std::string& path, const std::string& other, bool keep,
             const Change& change) {
    std::lock_guard lock(mutex_);
    UndoRecord record{.kind = kind, .inode = InodeOf(Parent(path)), .path = path, .other = other};
    if (keep) {
      const uint64_t inode = InodeOf(path);
      const std::string saved =
          undo_ + "/" + std::to_string(getpid()) + "-" + std::to_string(sequence_);
      if (inode != 0) {
        // What is there under this name is of a life whose log is done with.
        syscall(SYS_unlinkat, AT_FDCWD, saved.c_str(), 0);
        if (syscall(SYS_linkat, AT_FDCWD, path.c_str(), AT_FDCWD, saved.c_str(), 0) != 0) {
          GiveUp("keep a file that goes");
        }
        record.saved = saved;
        saved_[record.inode].insert({saved, inode});
      }
    }
    Append(&record);
    return change();
  }

  template <typename Change>
  auto Bytes(int fd, uint64_t inode, uint64_t size, uint64_t offset, uint64_t length,
             const Change& change) {
    UndoRecord record{.inode = inode, .offset = offset, .size = size};
    if (offset < size) {
      record.bytes.resize(std::min(length, size - offset));
      // A descriptor that is open for writing only can't be read.
      const int in = static_cast<int>(syscall(SYS_openat, AT_FDCWD,
                                              ("/proc/self/fd/" + std::to_string(fd)).c_str(),
                                              O_RDONLY | O_CLOEXEC));
      const ssize_t read = pread(in, record.bytes.data(), record.bytes.size(), offset);
      syscall(SYS_close, in);
      record.bytes.resize(read > 0 ? read : 0);
    }
    Append(&record);
    return change();
  }

  template <typename Sync>
  int Synced(int fd, const Sync& sync) {
    struct stat info {};
    if (fstat(fd, &info) != 0) return sync();
    uint64_t before;
    {
      std::lock_guard lock(mutex_);
      before = sequence_;
    }
    const int result = sync();
    if (result != 0) return result;
    std::lock_guard lock(mutex_);
    Done(info.st_ino, before);
    return result;
  }

  std::mutex& mutex() { return mutex_; }

 private:
  Shim() {
    const char* data = getenv("RAFTKV_TORTURE_DATA");
    const char* undo = getenv("RAFTKV_TORTURE_UNDO");
    const char* path = getenv("RAFTKV_TORTURE_LOG");
    if (data == nullptr || undo == nullptr || path == nullptr) return;
    data_ = data;
    undo_ = undo;
    // A life before this one was killed: what it had not synced, still is not.
    std::vector<UndoRecord> records;
    if (access(path, F_OK) == 0) {
      auto read = raftkv::torture::ReadUndoLog(path);
      if (!read.ok()) GiveUp("read the log");
      records = *std::move(read);
    }
    std::string again;
    for (const UndoRecord& record : records) {
      sequence_ = std::max(sequence_, record.sequence + 1);
      open_[record.inode].insert(record.sequence);
      if (!record.saved.empty()) saved_[record.inode].insert({record.saved, InodeOf(record.saved)});
      again += EncodeUndo(record);
    }
    // Anew, since a record that was cut off must not swallow the next one; and beside the old one,
    // which a kill must not take with it.
    const std::string beside = std::string(path) + ".new";
    log_ = static_cast<int>(syscall(SYS_openat, AT_FDCWD, beside.c_str(),
                                    O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
    if (log_ < 0 ||
        syscall(SYS_write, log_, again.data(), again.size()) !=
            static_cast<ssize_t>(again.size()) ||
        syscall(SYS_renameat2, AT_FDCWD, beside.c_str(), AT_FDCWD, path, 0) != 0) {
      GiveUp("write the log again");
    }
  }

  void Append(UndoRecord* record) {
    record->sequence = sequence_++;
    Write(*record);
    open_[record->inode].insert(record->sequence);
  }

  void Write(const UndoRecord& record) {
    const std::string bytes = EncodeUndo(record);
    if (syscall(SYS_write, log_, bytes.data(), bytes.size()) !=
        static_cast<ssize_t>(bytes.size())) {
      GiveUp("note a change");
    }
  }

  // What was noted of `inode` before `sequence` is on disk.
  void Done(uint64_t inode, uint64_t sequence) {
    const auto open = open_.find(inode);
    if (open != open_.end()) {
      UndoRecord record{.kind = UndoKind::kSync, .sequence = sequence, .inode = inode};
      Write(record);
      open->second.erase(open->second.begin(), open->second.lower_bound(sequence));
      if (open->second.empty()) open_.erase(open);
    }
    // Names were taken in one lock with their changes, so all kept files of this directory that
    // are older than the sync are done with; a younger one only survives a cut that is not asked
    // for.
    if (const auto saved = saved_.find(inode); saved != saved_.end() && !open_.contains(inode)) {
      const auto files = std::move(saved->second);
      saved_.erase(saved);
      for (const auto& [path, file] : files) {
        // Its number may be given to another file; not while it has another name.
        struct stat info {};
        if (lstat(path.c_str(), &info) != 0 || info.st_nlink < 2) Done(file, sequence_);
        syscall(SYS_unlinkat, AT_FDCWD, path.c_str(), 0);
      }
    }
    if (open_.empty()) (void)!ftruncate(log_, 0);
  }

  std::mutex mutex_;
  std::string data_;
  std::string undo_;
  int log_ = -1;
  uint64_t sequence_ = 1;
  std::map<uint64_t, std::set<uint64_t>> open_;  // by inode, the changes that are not synced
  // By directory, what was deleted or replaced there since its last sync: kept as, and inode.
  std::map<uint64_t, std::set<std::pair<std::string, uint64_t>>> saved_;
};

int RealOpen(int directory, const char* path, int flags, mode_t mode) {
  return static_cast<int>(syscall(SYS_openat, directory, path, flags, mode));
}

int Open(int directory, const char* path, int flags, mode_t mode) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (!writes && (flags & O_CREAT) == 0) {
    const int fd = RealOpen(directory, path, flags, mode);
    std::string full = Absolute(directory, path);
    while (full.size() > 1 && full.ends_with('/')) full.pop_back();
    if (fd < 0 || !Shim::Get().CoversDirectory(full)) return fd;
    struct stat info {};
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) SetWatch(fd, Watch::kDirectory);
    return fd;
  }
  Shim& shim = Shim::Get();
  const std::string full = Absolute(directory, path);
  if (!shim.Covers(full)) return RealOpen(directory, path, flags, mode);
  int fd;
  struct stat info {};
  if ((flags & O_CREAT) != 0 && lstat(full.c_str(), &info) != 0) {
    fd = shim.Names(UndoKind::kCreate, full, "", false,
                    [&] { return RealOpen(directory, path, flags, mode); });
  } else {
    fd = RealOpen(directory, path, flags & ~O_TRUNC, mode);
    if (fd >= 0 && writes && (flags & O_TRUNC) != 0) {
      SetWatch(fd, Watch::kFile);
      if (ftruncate(fd, 0) != 0) return -1;
    }
  }
  if (fd >= 0) {
    const bool is_directory = fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
    SetWatch(fd, is_directory ? Watch::kDirectory : writes ? Watch::kFile : Watch::kNo);
  }
  return fd;
}

template <typename Change>
ssize_t Write(int fd, bool at_end, uint64_t offset, uint64_t length, const Change& change) {
  std::lock_guard lock(Shim::Get().mutex());
  struct stat info {};
  if (fstat(fd, &info) != 0) return change();
  const auto size = static_cast<uint64_t>(info.st_size);
  if (at_end) {
    const bool append = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
    offset = append ? size : static_cast<uint64_t>(lseek(fd, 0, SEEK_CUR));
  }
  return Shim::Get().Bytes(fd, info.st_ino, size, offset, length, change);
}

mode_t ModeArgument(int flags, va_list* arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(*arguments, mode_t) : 0;
}

}  // namespace

// NOLINTBEGIN: the C library's names and types.
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeArgument(flags, &arguments);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeArgument(flags, &arguments);
  va_end(arguments);
  return Open(AT_FDCWD, path, flags, mode);
}

// What the C library's headers make of these where no mode is given and the flags are not constant.
int __open_2(const char* path, int flags) { return Open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char* path, int flags) { return Open(AT_FDCWD, path, flags, 0); }
int __openat_2(int directory, const char* path, int flags) {
  return Open(directory, path, flags, 0);
}
int __openat64_2(int directory, const char* path, int flags) {
  return Open(directory, path, flags, 0);
}

int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeArgument(flags, &arguments);
  va_end(arguments);
  return Open(directory, path, flags, mode);
}

int openat64(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeArgument(flags, &arguments);
  va_end(arguments);
  return Open(directory, path, flags, mode);
}

int creat(const char* path, mode_t mode) {
  return Open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd) {
  SetWatch(fd, Watch::kNo);
  return static_cast<int>(syscall(SYS_close, fd));
}

ssize_t write(int fd, const void* bytes, size_t size) {
  const auto real = [&] { return syscall(SYS_write, fd, bytes, size); };
  return WatchOf(fd) == Watch::kFile ? Write(fd, true, 0, size, real) : real();
}

ssize_t writev(int fd, const struct iovec* pieces, int count) {
  const auto real = [&] { return syscall(SYS_writev, fd, pieces, count); };
  if (WatchOf(fd) != Watch::kFile) return real();
  size_t size = 0;
  for (int i = 0; i < count; ++i) size += pieces[i].iov_len;
  return Write(fd, true, 0, size, real);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  const auto real = [&] { return syscall(SYS_pwrite64, fd, bytes, size, offset); };
  return WatchOf(fd) == Watch::kFile ? Write(fd, false, offset, size, real) : real();
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return pwrite(fd, bytes, size, offset);
}

int ftruncate(int fd, off_t size) {
  const auto real = [&] { return syscall(SYS_ftruncate, fd, size); };
  return static_cast<int>(WatchOf(fd) == Watch::kFile ? Write(fd, false, size, UINT64_MAX, real)
                                                      : real());
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
  const auto real = [&] {
    return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
  };
  // Room without bytes is nothing that could be seen.
  if (WatchOf(fd) != Watch::kFile || mode == FALLOC_FL_KEEP_SIZE) return real();
  const bool moves = (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0;
  return static_cast<int>(
      Write(fd, false, offset, moves ? UINT64_MAX : static_cast<uint64_t>(length), real));
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  return fallocate(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
  return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  return posix_fallocate(fd, offset, length);
}

int truncate(const char* path, off_t size) {
  const int fd = Open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int result = ftruncate(fd, size);
  close(fd);
  return result;
}

int truncate64(const char* path, off64_t size) { return truncate(path, size); }

int fsync(int fd) {
  const auto real = [fd] { return static_cast<int>(syscall(SYS_fsync, fd)); };
  return WatchOf(fd) != Watch::kNo ? Shim::Get().Synced(fd, real) : real();
}

int fdatasync(int fd) {
  static const bool lies = getenv("RAFTKV_TORTURE_LIE") != nullptr;
  const auto real = [fd] { return static_cast<int>(syscall(SYS_fdatasync, fd)); };
  if (WatchOf(fd) == Watch::kNo || (lies && IsPromise(Absolute(fd, "")))) return real();
  return Shim::Get().Synced(fd, real);
}

int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned int flags) {
  const auto real = [&] {
    return static_cast<int>(syscall(SYS_renameat2, from_directory, from, to_directory, to, flags));
  };
  const std::string path = Absolute(to_directory, to);
  Shim& shim = Shim::Get();
  if (!shim.Covers(path)) return real();
  return shim.Names(UndoKind::kRename, path, Absolute(from_directory, from), true, real);
}

int renameat(int from_directory, const char* from, int to_directory, const char* to) {
  return renameat2(from_directory, from, to_directory, to, 0);
}

int rename(const char* from, const char* to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  const auto real = [&] {
    return static_cast<int>(syscall(SYS_linkat, from_directory, from, to_directory, to, flags));
  };
  const std::string path = Absolute(to_directory, to);
  Shim& shim = Shim::Get();
  struct stat info {};
  // Where there is such a name already, the call fails, and must not be taken back.
  if (!shim.Covers(path) || lstat(path.c_str(), &info) == 0) return real();
  return shim.Names(UndoKind::kCreate, path, "", false, real);
}

int link(const char* from, const char* to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int directory, const char* path, int flags) {
  const auto real = [&] { return static_cast<int>(syscall(SYS_unlinkat, directory, path, flags)); };
  const std::string full = Absolute(directory, path);
  Shim& shim = Shim::Get();
  struct stat info {};
  if (!shim.Covers(full) || lstat(full.c_str(), &info) != 0) return real();
  const bool is_directory = (flags & AT_REMOVEDIR) != 0;
  return shim.Names(is_directory ? UndoKind::kRmdir : UndoKind::kUnlink, full, "", !is_directory,
                    real);
}

int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) {
  struct stat info {};
  const bool is_directory = lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
  return unlinkat(AT_FDCWD, path, is_directory ? AT_REMOVEDIR : 0);
}

int mkdirat(int directory, const char* path, mode_t mode) {
  const auto real = [&] { return static_cast<int>(syscall(SYS_mkdirat, directory, path, mode)); };
  const std::string full = Absolute(directory, path);
  Shim& shim = Shim::Get();
  struct stat info {};
  if (!shim.Covers(full) || lstat(full.c_str(), &info) == 0) return real();
  return shim.Names(UndoKind::kMkdir, full, "", false, real);
}

int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

}  // extern "C"
// NOLINTEND
