#include "tools/dump/directory.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "store/directory_lock.h"
#include "wal/log_store.h"
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

Status CheckIsNodes(const std::string& path) {
  RAFTKV_RETURN_IF_ERROR(CheckIsDirectory(path, ""));
  return CheckIsDirectory(path + "/db", " (give the node's --data-dir; this is not one)");
}

// Of blocks that have been read: nothing is read twice, and tables may be many.
constexpr uint64_t kCacheBytes = 8 << 20;

// A running node may remove a table between the reading of its name and its opening, or flush a WAL
// file between the reading of the tables' names and of the WAL: then the look has a gap.
constexpr int kLiveTries = 10;

}  // namespace

Status NodeDirectory::CheckNotRunning(const std::string& path) {
  RAFTKV_ASSIGN_OR_RETURN(const std::optional<int64_t> holder, store::DirectoryLock::Holder(path));
  if (!holder) return Status::Ok();
  return Status(Code::kFailedPrecondition,
                "a node is running on " + path + " (process " + std::to_string(*holder) +
                    "): stop it, or look at a copy made while it was stopped; meta, summary, log, "
                    "keys, sessions and members can look while it runs, with --live");
}

Status NodeDirectory::CheckStopped(const std::string& path) {
  RAFTKV_RETURN_IF_ERROR(CheckIsNodes(path));
  return CheckNotRunning(path);
}

StatusOr<std::unique_ptr<NodeDirectory>> NodeDirectory::Open(const std::string& path) {
  RAFTKV_RETURN_IF_ERROR(CheckStopped(path));
  std::unique_ptr<NodeDirectory> directory(new NodeDirectory());
  directory->path_ = path;
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(directory->db_path()));
  RAFTKV_ASSIGN_OR_RETURN(directory->scan_, wal::ScanWalFiles(directory->db_path()));
  store::EngineOptions options;
  options.path = directory->db_path();
  options.block_cache_bytes = kCacheBytes;
  options.wal_recovery = directory->scan_.recovery;
  RAFTKV_ASSIGN_OR_RETURN(directory->engine_, store::Engine::OpenReadOnly(options));
  return directory;
}

StatusOr<std::unique_ptr<NodeDirectory>> NodeDirectory::OpenLive(const std::string& path,
                                                                 const std::string& scratch) {
  RAFTKV_RETURN_IF_ERROR(CheckIsNodes(path));
  std::unique_ptr<NodeDirectory> directory(new NodeDirectory());
  directory->path_ = path;
  directory->live_ = true;
  store::EngineOptions options;
  options.path = directory->db_path();
  options.block_cache_bytes = kCacheBytes;
  options.secondary_path = scratch;
  Status status;
  for (int i = 0; i < kLiveTries; ++i) {
    auto engine = store::Engine::OpenReadOnly(options);
    status = engine.ok() ? wal::LogStore(engine->get()).Recover().status() : engine.status();
    if (status.ok()) {
      directory->engine_ = *std::move(engine);
      return directory;
    }
  }
  if (status.code() != Code::kCorruption) return status;
  return Status(Code::kUnavailable,
                path + " could not be seen as a whole in " + std::to_string(kLiveTries) +
                    " tries while its node writes to it; try again, or stop the node and use "
                    "verify. The last look: " +
                    status.message());
}

}  // namespace raftkv::tools::dump
