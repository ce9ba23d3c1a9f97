#include "store/wal_format.h"

#include <array>
#include <memory>

#include "common/crc32c.h"

namespace raftkv::store {
namespace {

// The CRC is stored rotated and offset, because a CRC over data that holds its own CRC is weak.
uint32_t Unmask(uint32_t masked) {
  const uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

uint32_t LoadLittleEndian32(const char* p) {
  const auto* u = reinterpret_cast<const uint8_t*>(p);
  return static_cast<uint32_t>(u[0]) | static_cast<uint32_t>(u[1]) << 8 |
         static_cast<uint32_t>(u[2]) << 16 | static_cast<uint32_t>(u[3]) << 24;
}

struct Header {
  uint32_t crc = 0;
  size_t payload_bytes = 0;
  uint8_t type = 0;
  size_t bytes = 0;

  size_t end() const { return bytes + payload_bytes; }
};

// Needs kChunkHeaderBytes at `p`.
Header ParseHeader(const char* p) {
  Header header;
  header.crc = Unmask(LoadLittleEndian32(p));
  header.payload_bytes =
      static_cast<uint8_t>(p[4]) | static_cast<size_t>(static_cast<uint8_t>(p[5])) << 8;
  header.type = static_cast<uint8_t>(p[6]);
  const bool recyclable =
      header.type <= kWalChunkTypeMax && IsRecyclable(static_cast<WalChunkType>(header.type));
  header.bytes = recyclable ? kRecyclableHeaderBytes : kWalChunkHeaderBytes;
  return header;
}

bool IsOfFile(const char* p, const Header& header, uint64_t file_number) {
  return header.bytes == kWalChunkHeaderBytes ||
         LoadLittleEndian32(p + kWalChunkHeaderBytes) == static_cast<uint32_t>(file_number);
}

// Checksums of any stretch of a block in constant time. A CRC is linear: the register after bytes
// [a, b) is the register after [0, b), starting from 0, plus (xor) what the difference in registers
// at `a` becomes over b - a bytes, which is a multiplication by x^(8 (b - a)) modulo the
// polynomial.
class StretchCrc {
 public:
  explicit StretchCrc(std::string_view block) {
    uint32_t state = 0;
    for (size_t i = 0; i < block.size(); ++i) {
      registers_[i] = state;
      // The public function complements the register on the way in and out.
      state = ~ExtendCrc32c(~state, block.substr(i, 1));
    }
    registers_[block.size()] = state;
  }

  uint32_t Of(size_t begin, size_t end) const {
    return ~(registers_[end] ^ Multiply(registers_[begin] ^ ~0u, Powers()[end - begin]));
  }

 private:
  static constexpr uint32_t kPolynomialReversed = 0x82f63b78;
  static constexpr uint32_t kOne = 0x80000000;  // x^0, bits reversed

  static uint32_t TimesX(uint32_t a) { return (a >> 1) ^ ((a & 1) != 0 ? kPolynomialReversed : 0); }

  static uint32_t Multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
      if ((a & bit) != 0) product ^= b;
      b = TimesX(b);
    }
    return product;
  }

  // x^(8 n) for every length a block can hold.
  static const std::array<uint32_t, kWalBlockBytes + 1>& Powers() {
    static const auto* powers = [] {
      auto* made = new std::array<uint32_t, kWalBlockBytes + 1>;
      uint32_t power = kOne;
      for (uint32_t& slot : *made) {
        slot = power;
        for (int i = 0; i < 8; ++i) power = TimesX(power);
      }
      return made;
    }();
    return *powers;
  }

  std::array<uint32_t, kWalBlockBytes + 1> registers_;
};

}  // namespace

WalChunk ReadWalChunk(std::string_view block, size_t offset, uint64_t file_number) {
  WalChunk chunk;
  if (block.size() - offset < kWalChunkHeaderBytes) {
    chunk.error = WalChunkError::kCutHeader;
    return chunk;
  }
  const char* const p = block.data() + offset;
  const Header header = ParseHeader(p);
  if (header.type == 0) {
    chunk.error = WalChunkError::kZeroType;
  } else if (header.end() > block.size() - offset) {
    chunk.error = WalChunkError::kTooLong;
  } else if (Crc32c(std::string_view(p + 6, header.end() - 6)) != header.crc) {
    chunk.error = WalChunkError::kBadChecksum;
  } else if (header.type > kWalChunkTypeMax) {
    chunk.error = WalChunkError::kUnknownType;
  } else if (!IsOfFile(p, header, file_number)) {
    chunk.error = WalChunkError::kOldFile;
  } else {
    chunk.type = static_cast<WalChunkType>(header.type);
    chunk.bytes = header.end();
    chunk.payload = std::string_view(p + header.bytes, header.payload_bytes);
  }
  return chunk;
}

std::optional<size_t> FindIntactWalChunk(std::string_view block, size_t from,
                                         uint64_t file_number) {
  // Most of what is searched is either a whole block, or zeros.
  if (block.find_first_not_of('\0', from) == std::string_view::npos) return std::nullopt;
  if (ReadWalChunk(block, from, file_number).error == WalChunkError::kNone) return from;
  const auto crc = std::make_unique<StretchCrc>(block);
  for (size_t at = from; at + kWalChunkHeaderBytes <= block.size(); ++at) {
    const char* const p = block.data() + at;
    const Header header = ParseHeader(p);
    if (header.type == 0 || header.type > kWalChunkTypeMax) continue;
    if (header.end() > block.size() - at) continue;
    if (crc->Of(at + 6, at + header.end()) != header.crc) continue;
    if (IsOfFile(p, header, file_number)) return at;
  }
  return std::nullopt;
}

}  // namespace raftkv::store
