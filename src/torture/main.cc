// raftkv-torture: does it hold what it promises, on this machine?
#include <utility>

#include "torture/options.h"
#include "torture/run.h"

int main(int argc, char** argv) {
  raftkv::torture::ParsedOptions parsed = raftkv::torture::ParseOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  return raftkv::torture::Run(std::move(parsed.options));
}
