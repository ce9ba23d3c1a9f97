#include "common/utf8.h"

#include <cstddef>
#include <cstdint>

namespace raftkv {

bool IsUtf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<uint8_t>(bytes[i++]);
    if (lead < 0x80) continue;
    const size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || bytes.size() - i < more) return false;
    // The first byte that follows is what tells overlong forms, surrogates and what is above
    // U+10FFFF.
    uint8_t low = 0x80, high = 0xbf;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    for (size_t k = 0; k < more; ++k, low = 0x80, high = 0xbf) {
      const auto next = static_cast<uint8_t>(bytes[i++]);
      if (next < low || next > high) return false;
    }
  }
  return true;
}

}  // namespace raftkv
