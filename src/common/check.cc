#include "common/check.h"

#include <cstdio>
#include <cstdlib>

namespace raftkv {

void CheckFailed(const char* file, int line, const char* condition, const std::string& message) {
  std::fprintf(stderr, "raftkv: fatal: %s:%d: check failed: %s: %s\n", file, line, condition,
               message.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace raftkv
