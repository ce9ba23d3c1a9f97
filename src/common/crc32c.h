// CRC-32C (Castagnoli), the checksum of every record this project writes and of RocksDB's WAL.
#pragma once

#include <cstdint>
#include <string_view>

namespace raftkv {

// The checksum of `data` continued from `crc` (the checksum of what came before; 0 at the start).
// Uses the CPU's instruction where it has one. Thread-safe.
uint32_t ExtendCrc32c(uint32_t crc, std::string_view data);

inline uint32_t Crc32c(std::string_view data) { return ExtendCrc32c(0, data); }

}  // namespace raftkv
