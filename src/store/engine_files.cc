#include "store/engine_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

namespace raftkv::store {
namespace {

namespace fs = std::filesystem;

Status IoError(const std::string& what, int error) {
  return Status(Code::kIoError, what + ": " + std::strerror(error));
}

Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return IoError("cannot open " + path + " to sync it", errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? Status::Ok() : IoError("cannot sync " + path, error);
}

}  // namespace

Status SyncDirectory(const std::string& path) { return SyncPath(path, O_RDONLY | O_DIRECTORY); }

Status SyncTree(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string entry = it->path().string();
    RAFTKV_RETURN_IF_ERROR(it->is_directory() ? SyncTree(entry) : SyncPath(entry, O_RDONLY));
  }
  if (error) return Status(Code::kIoError, "cannot list " + path + ": " + error.message());
  return SyncDirectory(path);
}

Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return Status(Code::kIoError, "cannot remove " + path + ": " + error.message());
  return Status::Ok();
}

Status EmptyFile(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) {
    return errno == ENOENT ? Status::Ok() : IoError("cannot open " + path + " to empty it", errno);
  }
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? Status::Ok() : IoError("cannot sync " + path, error);
}

Status RenameNew(const std::string& from, const std::string& to) {
  // Plain rename(2) would replace an empty directory without a word.
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return Status(Code::kAlreadyExists, to + " exists");
    return IoError("cannot rename " + from + " to " + to, errno);
  }
  const fs::path parent = fs::path(to).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string());
}

uint64_t WalNumber(const std::string& name) {
  constexpr std::string_view kSuffix = ".log";
  if (!name.ends_with(kSuffix)) return 0;
  const char* const end = name.data() + name.size() - kSuffix.size();
  uint64_t number = 0;
  const auto [parsed_to, error] = std::from_chars(name.data(), end, number);
  return error == std::errc() && parsed_to == end ? number : 0;
}

StatusOr<std::vector<WalFile>> WalFiles(const std::string& db_path) {
  std::vector<WalFile> files;
  std::error_code error;
  for (fs::directory_iterator it(db_path, error), end; !error && it != end; it.increment(error)) {
    const uint64_t number = WalNumber(it->path().filename().string());
    if (number != 0) files.push_back({number, it->path().string()});
  }
  if (error) return Status(Code::kIoError, "cannot list " + db_path + ": " + error.message());
  std::sort(files.begin(), files.end(),
            [](const WalFile& a, const WalFile& b) { return a.number < b.number; });
  return files;
}

}  // namespace raftkv::store
