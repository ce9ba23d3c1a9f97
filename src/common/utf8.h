#pragma once

#include <string_view>

namespace raftkv {

// Whether it is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates). Protobuf's strings
// must be: it writes others, and refuses to read them.
bool IsUtf8(std::string_view bytes);

}  // namespace raftkv
