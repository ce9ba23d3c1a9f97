// Files that commands make: whole under their own name, or not there.
#pragma once

#include <string>

#include "common/status.h"

namespace raftkv::tools {

struct OutputPlace {
  std::string path;  // what it is to be called; no symbolic link
  std::string part;  // beside it, of this process alone: where it is written before it is whole
};

// kInvalidArgument where `path` is there and no file: a device or a directory is not replaced.
StatusOr<OutputPlace> PlaceOutput(const std::string& path);

}  // namespace raftkv::tools
