#include "server/marker_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace raftkv::server {
namespace {

Status Failed(const std::string& what, const std::string& path) {
  return {Code::kIoError, "can't " + what + " " + path + ": " + std::strerror(errno)};
}

// Writes and syncs; the descriptor is closed in any case.
Status WriteSynced(const std::string& path, const std::string& content) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Failed("make", path);
  Status status;
  if (write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    status = Failed("write", path);
  } else if (fsync(fd) != 0) {
    status = Failed("sync", path);
  }
  close(fd);
  return status;
}

Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed("open", path);
  const Status status = fsync(fd) == 0 ? Status::Ok() : Failed("sync", path);
  close(fd);
  return status;
}

}  // namespace

Status WriteMarkerFile(const std::string& path, const std::string& content) {
  std::ifstream existing(path);
  std::ostringstream found;
  found << existing.rdbuf();
  if (existing && found.str() == content) return Status::Ok();
  const std::string beside = path + ".new";
  RAFTKV_RETURN_IF_ERROR(WriteSynced(beside, content));
  if (std::rename(beside.c_str(), path.c_str()) != 0) return Failed("rename", beside);
  return SyncDirectory(std::filesystem::path(path).parent_path());
}

}  // namespace raftkv::server
