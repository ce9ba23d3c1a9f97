// Fixed-width integers as bytes. Keys are big-endian, so that byte order is number order; record
// fields are little-endian. Varints are LEB128, as in protobuf.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace raftkv {

inline void AppendBigEndian64(std::string* out, uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) out->push_back(static_cast<char>(v >> shift));
}

inline void AppendLittleEndian32(std::string* out, uint32_t v) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(v >> shift));
}

inline void AppendLittleEndian64(std::string* out, uint64_t v) {
  for (int shift = 0; shift < 64; shift += 8) out->push_back(static_cast<char>(v >> shift));
}

inline void AppendVarint(std::string* out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out->push_back(static_cast<char>(v | 0x80));
  out->push_back(static_cast<char>(v));
}

// A varint length, then the bytes.
inline void AppendLengthPrefixed(std::string* out, std::string_view bytes) {
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

// Each Consume* takes a value off the front of `in`. They return false, and leave `in` and `v`
// unspecified, when there are not enough bytes or the encoding is malformed.
bool ConsumeByte(std::string_view* in, uint8_t* v);
bool ConsumeBigEndian64(std::string_view* in, uint64_t* v);
bool ConsumeLittleEndian32(std::string_view* in, uint32_t* v);
bool ConsumeLittleEndian64(std::string_view* in, uint64_t* v);
bool ConsumeVarint(std::string_view* in, uint64_t* v);
bool ConsumeLengthPrefixed(std::string_view* in, std::string_view* bytes);

}  // namespace raftkv
