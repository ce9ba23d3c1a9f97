// Fuzz targets: decoders that are fed bytes from outside. Each file registers one; the binary runs
// the one it is asked for, under libFuzzer (make fuzz) or over the corpus (Fuzz.* in make test).
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "common/coding.h"

namespace raftkv::fuzz {

struct Target {
  const char* name;
  void (*run)(std::string_view input);
};

// In no particular order.
inline std::vector<Target>& Targets() {
  static std::vector<Target> targets;
  return targets;
}

inline bool Register(const char* name, void (*run)(std::string_view)) {
  Targets().push_back({name, run});
  return true;
}

// Not an expected failure but a bug: ends the process, as a crash would.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

// The first byte, to choose by; 0 when there is none.
inline uint8_t TakeByte(std::string_view* input) {
  uint8_t byte = 0;
  return ConsumeByte(input, &byte) ? byte : 0;
}

// The input cut into pieces: each a varint length and the bytes; the last may be short.
inline std::vector<std::string_view> Pieces(std::string_view input) {
  std::vector<std::string_view> pieces;
  uint64_t length = 0;
  while (!input.empty() && ConsumeVarint(&input, &length)) {
    pieces.push_back(input.substr(0, length));
    input.remove_prefix(pieces.back().size());
  }
  return pieces;
}

// A file that is only in memory, with a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace raftkv::fuzz

// FUZZ_TARGET(name) { ...input, a std::string_view... }
#define FUZZ_TARGET(name)                                \
  static void Run_##name(std::string_view input);        \
  [[maybe_unused]] static const bool registered_##name = \
      ::raftkv::fuzz::Register(#name, Run_##name);       \
  static void Run_##name(std::string_view input)
