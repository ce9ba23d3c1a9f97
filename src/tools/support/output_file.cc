#include "tools/support/output_file.h"

#include <unistd.h>

#include <filesystem>

namespace raftkv::tools {

namespace fs = std::filesystem;

StatusOr<OutputPlace> PlaceOutput(const std::string& path) {
  std::error_code error;
  OutputPlace out{path, ""};
  if (fs::is_symlink(path, error)) {
    out.path = fs::weakly_canonical(path, error);
    if (error) return Status(Code::kInvalidArgument, path + ": " + error.message());
  }
  if (fs::exists(out.path, error) && !fs::is_regular_file(out.path, error)) {
    return Status(Code::kInvalidArgument, path + " is there, and no file: name another");
  }
  out.part = out.path + "." + std::to_string(getpid()) + ".part";
  return out;
}

}  // namespace raftkv::tools
