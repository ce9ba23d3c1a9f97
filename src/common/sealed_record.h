// The checksum that ends every record this project stores, whatever its version.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/coding.h"
#include "common/crc32c.h"

namespace raftkv {

// Bytes that Seal adds.
inline constexpr size_t kSealBytes = 4;

// Of the key and then the body: a record found under another key than it was written for does not
// verify, nor does one with any bit changed.
inline uint32_t SealOf(std::string_view key, std::string_view body) {
  return ExtendCrc32c(Crc32c(key), body);
}

// Ends `body`, to be stored under `key`, with its seal.
inline void Seal(std::string_view key, std::string* body) {
  AppendLittleEndian32(body, SealOf(key, *body));
}

// The body of a sealed record, pointing into `record`; nothing when the seal does not fit. Check
// the seal before looking at a version number: a newer format keeps the seal where it is, so that a
// flipped bit in a version byte is told from a newer version.
inline std::optional<std::string_view> OpenSealed(std::string_view key, std::string_view record) {
  if (record.size() < kSealBytes) return std::nullopt;
  const std::string_view body = record.substr(0, record.size() - kSealBytes);
  std::string_view tail = record.substr(body.size());
  uint32_t stored = 0;
  if (!ConsumeLittleEndian32(&tail, &stored) || stored != SealOf(key, body)) return std::nullopt;
  return body;
}

}  // namespace raftkv
