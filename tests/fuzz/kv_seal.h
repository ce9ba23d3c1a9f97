// The checksum of records of the applied state (src/store/mvcc.h), which stands behind the version
// byte.
#pragma once

#include <string>
#include <string_view>

#include "common/crc32c.h"

namespace raftkv::fuzz {

inline constexpr size_t kKvHeaderBytes = 5;  // version, checksum

// Puts it right. Nothing to do in a record that has no place for it.
inline void SealKvRecord(std::string_view key, std::string* record) {
  if (record->size() < kKvHeaderBytes) return;
  uint32_t crc = ExtendCrc32c(Crc32c(key), std::string_view(*record).substr(0, 1));
  crc = ExtendCrc32c(crc, std::string_view(*record).substr(kKvHeaderBytes));
  for (size_t i = 1; i < kKvHeaderBytes; ++i, crc >>= 8) (*record)[i] = static_cast<char>(crc);
}

}  // namespace raftkv::fuzz
