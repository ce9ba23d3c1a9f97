// What a REST request asks for: the path and query of its URL.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/status.h"

namespace raftkv::server {

// Decoded by us, because the HTTP library's decoding replaces '+' and keeps malformed escapes.
struct Target {
  std::string path;
  std::map<std::string, std::string> query;  // of a repeated parameter the last one
};

// `raw` as it came. kInvalidArgument when its percent-encoding is malformed.
StatusOr<Target> ParseTarget(std::string_view raw);

}  // namespace raftkv::server
