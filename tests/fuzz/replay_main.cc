// Runs inputs through a target without libFuzzer: fuzz_replay TARGET FILE-OR-DIRECTORY...
// Needs no clang, so make test runs it over the corpus.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/fuzz.h"

namespace raftkv::fuzz {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> FilesAt(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

int Main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  for (const Target& target : Targets()) {
    if (target.name != name) continue;
    size_t runs = 0;
    for (int i = 2; i < argc; ++i) {
      for (const fs::path& path : FilesAt(argv[i])) {
        std::ifstream file(path, std::ios::binary);
        if (!file) {
          std::fprintf(stderr, "fuzz_replay: can't read %s\n", path.c_str());
          return 2;
        }
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        std::printf("%s\n", path.c_str());
        std::fflush(stdout);  // a crash must not take the name with it
        target.run(bytes);
        // Cut off at every length too: what a broken connection or disk leaves.
        for (size_t size = 0; size < std::min<size_t>(bytes.size(), 512); ++size) {
          target.run(std::string_view(bytes).substr(0, size));
        }
        ++runs;
      }
    }
    std::printf("%s: %zu input(s)\n", target.name, runs);
    return runs > 0 ? 0 : 2;  // an empty corpus tests nothing
  }
  std::fprintf(stderr, "fuzz_replay: no target '%s'\n", name.c_str());
  return 2;
}

}  // namespace
}  // namespace raftkv::fuzz

int main(int argc, char** argv) { return raftkv::fuzz::Main(argc, argv); }
