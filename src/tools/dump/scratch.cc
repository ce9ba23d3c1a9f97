#include "tools/dump/scratch.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

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

}  // namespace raftkv::tools::dump
