#include "tools/dump/directory.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "store/directory_lock.h"
#include "wal/manifest_check.h"

namespace raftkv::tools::dump {
namespace {

Status CheckIsDirectory(const std::string& path, const std::string& otherwise) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) {
    return Status(Code::kNotFound, path + ": " + std::strerror(errno) + otherwise);
  }
  if (!S_ISDIR(info.st_mode)) return Status(Code::kNotFound, path + " is not a directory");
  return Status::Ok();
}

}  // namespace

Status NodeDirectory::CheckNotRunning(const std::string& path) {
  RAFTKV_ASSIGN_OR_RETURN(const std::optional<int64_t> holder, store::DirectoryLock::Holder(path));
  if (!holder) return Status::Ok();
  return Status(Code::kFailedPrecondition,
                "a node is running on " + path + " (process " + std::to_string(*holder) +
                    "): stop it, or look at a copy made while it was stopped");
}

StatusOr<std::unique_ptr<NodeDirectory>> NodeDirectory::Open(const std::string& path) {
  std::unique_ptr<NodeDirectory> directory(new NodeDirectory());
  directory->path_ = path;
  RAFTKV_RETURN_IF_ERROR(CheckIsDirectory(path, ""));
  RAFTKV_RETURN_IF_ERROR(
      CheckIsDirectory(directory->db_path(), " (give the node's --data-dir; this is not one)"));
  RAFTKV_RETURN_IF_ERROR(CheckNotRunning(path));
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(directory->db_path()));
  RAFTKV_ASSIGN_OR_RETURN(directory->scan_, wal::ScanWalFiles(directory->db_path()));
  store::EngineOptions options;
  options.path = directory->db_path();
  options.wal_recovery = directory->scan_.recovery;
  RAFTKV_ASSIGN_OR_RETURN(directory->engine_, store::Engine::OpenReadOnly(options));
  return directory;
}

}  // namespace raftkv::tools::dump
