// Bytes as text, for people and for JSON: what the tools print.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace raftkv::tools {

// Standard base64 with padding (RFC 4648, section 4), as Go's JSON encoder writes byte slices.
std::string Base64(std::string_view bytes);
// The inverse of Base64; nothing for anything that it does not produce.
std::optional<std::string> FromBase64(std::string_view text);

// Two lower-case hex digits a byte.
std::string Hex(std::string_view bytes);
// The inverse of Hex; either case. Nothing for an odd number of digits or anything else.
std::optional<std::string> FromHex(std::string_view digits);

// "\x61\x62": what etcdctl --hex prints for a byte string.
std::string HexEscape(std::string_view bytes);

// Printable ASCII as it is; a backslash doubled; \n, \r and \t; every other byte as \xNN. One line,
// and no two byte strings look the same.
std::string EscapeText(std::string_view bytes);

// An id of a member or a cluster: hexadecimal without leading zeros, as etcd's tools print it.
std::string IdText(uint64_t id);

// "20 kB": powers of 1000, one decimal below 10, as etcdctl prints sizes.
std::string HumanBytes(uint64_t bytes);

// "500ms", "5s", "1.5m" or "1h" in milliseconds; a bare number is seconds. Nothing for anything
// else, and for what is not positive.
std::optional<uint64_t> ParseDurationMs(const std::string& text);

}  // namespace raftkv::tools
