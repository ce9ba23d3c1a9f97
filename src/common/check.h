// Invariants that hold in release builds too.
#pragma once

#include <string>

namespace raftkv {

// Writes where and why to stderr and aborts. A process whose invariants are broken must not go on
// acknowledging writes: a restart from disk is the safe continuation.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& message);

}  // namespace raftkv

// Aborts with `message` unless `condition` holds; the message is built only on failure.
#define RAFTKV_CHECK(condition, message)                                \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::raftkv::CheckFailed(__FILE__, __LINE__, #condition, (message)); \
  } while (0)
