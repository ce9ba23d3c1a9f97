// The process's log: spdlog on stderr, leveled, with key=value fields or as JSON lines.
#pragma once

#include <string>

#include <spdlog/spdlog.h>

namespace raftkv::server {

// Installs the default logger. `format` is "text" or "json"; both as checked by ParseOptions.
void SetUpLogging(const std::string& level, const std::string& format);

}  // namespace raftkv::server
