#include "store/directory_lock.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace raftkv::store {
namespace {

std::string LockPath(const std::string& data_dir) { return data_dir + "/raftkv.lock"; }

Status IoError(const std::string& what, int error) {
  return Status(Code::kIoError, what + ": " + std::strerror(error));
}

struct flock WholeFile() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;  // length 0: to the end, wherever that is
}

// The id the holder wrote, or 0.
int64_t ReadPid(int fd) {
  char text[32] = {};
  const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
  return n > 0 ? std::strtoll(text, nullptr, 10) : 0;
}

}  // namespace

StatusOr<std::unique_ptr<DirectoryLock>> DirectoryLock::Acquire(const std::string& data_dir) {
  const std::string path = LockPath(data_dir);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return IoError("cannot open the lock file " + path +
                       " (does the data directory exist, and may this user write to it?)",
                   errno);
  }
  std::unique_ptr<DirectoryLock> held(new DirectoryLock(fd));
  struct flock lock = WholeFile();
  if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno != EAGAIN && errno != EACCES) return IoError("cannot lock " + path, errno);
    const int64_t pid = ReadPid(fd);
    return Status(Code::kFailedPrecondition,
                  "the data directory " + data_dir + " is in use by process " +
                      (pid > 0 ? std::to_string(pid) : "(unknown id)") +
                      "; stop that process, or give this one a data directory of its own");
  }
  const std::string text = std::to_string(getpid()) + "\n";
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return IoError("cannot write to the lock file " + path, errno);
  }
  return held;
}

StatusOr<std::optional<int64_t>> DirectoryLock::Holder(const std::string& data_dir) {
  const std::string path = LockPath(data_dir);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::optional<int64_t>();
    return IoError("cannot open the lock file " + path, errno);
  }
  struct flock lock = WholeFile();
  std::optional<int64_t> holder;
  const bool asked = fcntl(fd, F_OFD_GETLK, &lock) == 0;
  const int error = errno;
  if (asked && lock.l_type != F_UNLCK) holder = ReadPid(fd);
  close(fd);
  if (!asked) return IoError("cannot ask about the lock " + path, error);
  return holder;
}

DirectoryLock::~DirectoryLock() {
  // The file stays: removing it would let two processes hold "the" lock on two files.
  close(fd_);
}

}  // namespace raftkv::store
