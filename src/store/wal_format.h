// RocksDB's WAL file format, as far as the scanner needs it.
//
// A file is a row of blocks of 32 KiB. A block holds chunks, none reaching over its end; where
// fewer bytes are left than a header takes, zeros fill it up (the trailer). A chunk is
//
//   0 u32 masked CRC-32C of all that follows the length   4 u16 length of the payload   6 u8 type
//   [7 u32 low half of the file's number, in the recyclable types]   then the payload
//
// integers little-endian. A record is one full chunk, or a first, any number of middle, and a last
// one. The payload of a record is a write batch: u64 sequence number, u32 count of updates, the
// updates. Sources: RocksDB's db/log_format.h and its wiki page "Write Ahead Log File Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace raftkv::store {

inline constexpr size_t kWalBlockBytes = 32768;
inline constexpr size_t kWalChunkHeaderBytes = 7;
inline constexpr size_t kRecyclableHeaderBytes = 11;
inline constexpr size_t kBatchHeaderBytes = 12;

enum class WalChunkType : uint8_t {
  kZero = 0,  // what a region that was never written reads as
  kFull = 1,
  kFirst = 2,
  kMiddle = 3,
  kLast = 4,
  kRecyclableFull = 5,
  kRecyclableFirst = 6,
  kRecyclableMiddle = 7,
  kRecyclableLast = 8,
  kSetCompression = 9,
};
inline constexpr uint8_t kWalChunkTypeMax = 9;  // of RocksDB 7.8

inline bool IsRecyclable(WalChunkType type) {
  return type >= WalChunkType::kRecyclableFull && type <= WalChunkType::kRecyclableLast;
}

enum class WalChunkError {
  kNone,
  kCutHeader,    // fewer bytes than a header
  kZeroType,     // type 0: not written, or zeroed
  kTooLong,      // reaches over the end of its block or of the file
  kBadChecksum,  // header or payload changed, or never written
  kUnknownType,  // the checksum matches: a newer RocksDB wrote it
  kOldFile,      // a recyclable chunk of the file's former life
};

struct WalChunk {
  WalChunkError error = WalChunkError::kNone;
  WalChunkType type = WalChunkType::kZero;
  size_t bytes = 0;  // header and payload
  std::string_view payload;
};

// Reads the chunk at `offset` of a block. `block` is all there is of it: shorter than
// kWalBlockBytes only at the end of the file. `file_number` is the number in the file's name.
WalChunk ReadWalChunk(std::string_view block, size_t offset, uint64_t file_number);

// Looks for an intact chunk of this file at any byte from `from` on, and returns the first's
// offset. Takes time linear in the block's size whatever its bytes are.
std::optional<size_t> FindIntactWalChunk(std::string_view block, size_t from, uint64_t file_number);

}  // namespace raftkv::store
