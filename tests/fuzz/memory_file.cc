#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

namespace raftkv::fuzz {

MemoryFile::MemoryFile(std::string_view bytes) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
  Require(fd_ >= 0, "no memory file");
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    Require(written > 0, "can't write to a memory file");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

MemoryFile::~MemoryFile() { close(fd_); }

}  // namespace raftkv::fuzz
