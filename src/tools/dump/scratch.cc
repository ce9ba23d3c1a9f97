#include "tools/dump/scratch.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "wal/log_store.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

// Replayed at once: bounds memory, and is large enough for RocksDB's batches to be efficient.
constexpr uint64_t kReplayBytes = 4 << 20;

Status IoError(const std::string& what, const std::error_code& error) {
  return Status(Code::kIoError, what + ": " + error.message());
}

}  // namespace

StatusOr<std::unique_ptr<ScratchDirectory>> ScratchDirectory::Make(const std::string& parent) {
  std::string base = parent;
  if (base.empty()) {
    const char* tmpdir = std::getenv("TMPDIR");
    base = tmpdir != nullptr && *tmpdir != '\0' ? tmpdir : "/tmp";
  }
  std::string path = base + "/raftkv-dump.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return Status(Code::kIoError, "no scratch directory in " + base + ": " + std::strerror(errno));
  }
  return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(path));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code error;
  fs::remove_all(path_, error);
  if (error) {
    std::fprintf(stderr, "raftkv-dump: %s is left behind: %s\n", path_.c_str(),
                 error.message().c_str());
  }
}

Status MakeDirectory(const std::string& path) {
  std::error_code error;
  if (fs::create_directory(path, error)) return Status::Ok();
  return IoError("making " + path, error ? error : std::make_error_code(std::errc::file_exists));
}

Status CopyFile(const std::string& from, const std::string& to) {
  std::error_code error;
  if (from.ends_with(".sst")) {
    fs::create_hard_link(from, to, error);
    if (!error) return Status::Ok();
    // Another file system, or a file that is not ours to link: copy.
    error.clear();
  }
  fs::copy_file(from, to, error);
  return error ? IoError("copying " + from + " to " + to, error) : Status::Ok();
}

Status CopyDatabase(const std::string& db_path, const std::string& copy_path) {
  RAFTKV_RETURN_IF_ERROR(MakeDirectory(copy_path));
  std::error_code error;
  fs::directory_iterator it(db_path, error);
  if (error) return IoError("listing " + db_path, error);
  for (; it != fs::directory_iterator(); it.increment(error)) {
    if (error) return IoError("listing " + db_path, error);
    if (!it->is_regular_file(error)) continue;
    RAFTKV_RETURN_IF_ERROR(CopyFile(it->path(), fs::path(copy_path) / it->path().filename()));
  }
  return Status::Ok();
}

StatusOr<std::unique_ptr<ReplayedState>> ReplayedState::Make(const NodeDirectory& directory,
                                                             const ScratchDirectory& scratch,
                                                             Index through) {
  store::EngineOptions options;
  options.path = scratch.path() + "/db";
  options.wal_recovery = directory.scan().recovery;
  RAFTKV_RETURN_IF_ERROR(CopyDatabase(directory.db_path(), options.path));
  std::unique_ptr<ReplayedState> state(new ReplayedState());
  RAFTKV_ASSIGN_OR_RETURN(state->engine_, store::Engine::Open(options));
  RAFTKV_ASSIGN_OR_RETURN(state->store_,
                          store::KvStore::Open(state->engine_.get(), store::KvStoreOptions()));
  RAFTKV_RETURN_IF_ERROR(state->Replay(through));
  return state;
}

Status ReplayedState::Replay(Index through) {
  wal::LogStore log(engine_.get());
  RAFTKV_ASSIGN_OR_RETURN(const wal::RecoveredLog recovered, log.Recover());
  Index applied = store_->applied().position.index;
  if (through < applied) {
    return Status(Code::kOutOfRange, "the state in the directory is already applied up to index " +
                                         std::to_string(applied.value()) +
                                         ": there is no older one");
  }
  if (through > recovered.last) {
    return Status(Code::kOutOfRange,
                  "the log ends at index " + std::to_string(recovered.last.value()));
  }
  if (applied < recovered.before_first.index) {
    return Status(Code::kCorruption,
                  "the log begins at index " + std::to_string(recovered.first.value()) +
                      ", but the state was applied only up to " + std::to_string(applied.value()));
  }
  while (applied < through) {
    std::vector<Entry> entries;
    RAFTKV_RETURN_IF_ERROR(log.Read(applied + 1, through, kReplayBytes, &entries));
    std::vector<store::ApplyResult> results;
    store_->Apply(entries, &results);
    replayed_ += entries.size();
    applied = entries.back().index;
  }
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
