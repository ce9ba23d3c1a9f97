// The only kind of URL there is here: http://host:port.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace raftkv {

// An http:// URL taken apart. Only scheme, host and port are allowed.
struct Url {
  std::string host;
  uint16_t port = 0;

  std::string HostPort() const;  // "127.0.0.1:2379", IPv6 in brackets
  std::string ToString() const;  // "http://127.0.0.1:2379"
  bool operator==(const Url&) const = default;
};

StatusOr<Url> ParseUrl(const std::string& text);

// The parts between commas that are not empty.
std::vector<std::string> SplitCommas(const std::string& text);

}  // namespace raftkv
