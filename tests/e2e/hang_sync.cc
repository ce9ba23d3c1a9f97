// To be preloaded into a node: its syncs wait for as long as somebody else holds a lock on the file
// that HANG_SYNC names. A disk that does not answer, without an error, and a node that goes on.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>

namespace {

void WaitForTheDisk() {
  const char* const path = std::getenv("HANG_SYNC");
  if (path == nullptr) return;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  flock(fd, LOCK_SH);
  close(fd);
}

using Sync = int (*)(int);

}  // namespace

extern "C" {

int fdatasync(int fd) {
  static const auto real = reinterpret_cast<Sync>(dlsym(RTLD_NEXT, "fdatasync"));
  WaitForTheDisk();
  return real(fd);
}

int fsync(int fd) {
  static const auto real = reinterpret_cast<Sync>(dlsym(RTLD_NEXT, "fsync"));
  WaitForTheDisk();
  return real(fd);
}

}  // extern "C"
