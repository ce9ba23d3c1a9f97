// Under libFuzzer: RAFTKV_FUZZ_TARGET names the target.
#include <cstring>

#include "fuzz/fuzz.h"

namespace {

const raftkv::fuzz::Target* target = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* name = std::getenv("RAFTKV_FUZZ_TARGET");
  for (const raftkv::fuzz::Target& t : raftkv::fuzz::Targets()) {
    if (name != nullptr && std::strcmp(t.name, name) == 0) target = &t;
  }
  if (target == nullptr) {
    std::fprintf(stderr, "fuzz: set RAFTKV_FUZZ_TARGET to one of:\n");
    for (const raftkv::fuzz::Target& t : raftkv::fuzz::Targets()) {
      std::fprintf(stderr, "  %s\n", t.name);
    }
    std::exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  target->run({reinterpret_cast<const char*>(data), size});
  return 0;
}
