// Percent-encoding (RFC 3986), binary-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace raftkv::server {

// Bytes for which `encoded` stands, or nothing when a % is not followed by two hex digits. '+'
// stands for itself.
std::optional<std::string> PercentDecode(std::string_view encoded);

// Everything but letters, digits, '-', '.', '_' and '~' encoded.
std::string PercentEncode(std::string_view bytes);

}  // namespace raftkv::server
