#include "tools/dump/out_directory.h"

#include <filesystem>

namespace raftkv::tools::dump {

namespace fs = std::filesystem;

Status CheckOutDirectory(const std::string& out, const std::string& source) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(out, error))) {
    return Status(Code::kFailedPrecondition,
                  out + " exists: --out takes the name of a directory that is to be made");
  }
  fs::path name = fs::path(out).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();  // "dir/"
  const fs::path parent = fs::canonical(name.has_parent_path() ? name.parent_path() : ".", error);
  if (error) {
    return Status(Code::kFailedPrecondition,
                  "there is no directory to make " + out + " in: " + error.message());
  }
  for (fs::path above = parent;; above = above.parent_path()) {
    if (fs::equivalent(above, source, error)) {
      return Status(
          Code::kFailedPrecondition,
          out + " is inside " + source + ", which is not to be changed: put it elsewhere");
    }
    if (above == above.root_path()) return Status::Ok();
  }
}

}  // namespace raftkv::tools::dump
