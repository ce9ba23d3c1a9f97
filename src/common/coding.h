// Fixed-width integers as bytes. Keys are big-endian, so that byte order is number order; record
// fields are little-endian. Varints are LEB128, as in protobuf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace raftkv {

// The compiler makes one store, and a byte swap, of each of these loops.
template <typename Unsigned>
void StoreBigEndian(char* out, Unsigned v) {
  for (size_t i = 0; i < sizeof(v); ++i) out[i] = static_cast<char>(v >> (8 * (sizeof(v) - 1 - i)));
}

template <typename Unsigned>
void StoreLittleEndian(char* out, Unsigned v) {
  for (size_t i = 0; i < sizeof(v); ++i) out[i] = static_cast<char>(v >> (8 * i));
}

inline void AppendBigEndian32(std::string* out, uint32_t v) {
  char bytes[sizeof(v)];
  StoreBigEndian(bytes, v);
  out->append(bytes, sizeof(v));
}

inline void AppendBigEndian64(std::string* out, uint64_t v) {
  char bytes[sizeof(v)];
  StoreBigEndian(bytes, v);
  out->append(bytes, sizeof(v));
}

inline void AppendLittleEndian32(std::string* out, uint32_t v) {
  char bytes[sizeof(v)];
  StoreLittleEndian(bytes, v);
  out->append(bytes, sizeof(v));
}

inline void AppendLittleEndian64(std::string* out, uint64_t v) {
  char bytes[sizeof(v)];
  StoreLittleEndian(bytes, v);
  out->append(bytes, sizeof(v));
}

inline constexpr size_t kVarintBytesMax = 10;

inline void AppendVarint(std::string* out, uint64_t v) {
  char bytes[kVarintBytesMax];
  size_t size = 0;
  for (; v >= 0x80; v >>= 7) bytes[size++] = static_cast<char>(v | 0x80);
  bytes[size++] = static_cast<char>(v);
  out->append(bytes, size);
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
