// Each file of tests/raft/scenarios is a test: command lines, "----", and what they print, up to
// the next empty line. RAFTKV_REWRITE=1 writes what they print now into the files; look at the
// difference before keeping it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "raft/scenario.h"

namespace raftkv::raft {
namespace {

namespace fs = std::filesystem;

fs::path Directory() { return fs::path(RAFTKV_SOURCE_DIR) / "tests/raft/scenarios"; }

std::vector<std::string> Files() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(Directory())) {
    if (file.path().extension() == ".txt") names.push_back(file.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class ScenarioTest : public testing::TestWithParam<std::string> {};

// The file as it should be: everything as it is, but each block's output replaced by what its
// commands print.
std::string Replay(std::istream& in) {
  Scenario scenario;
  std::string replayed;
  std::string output;
  bool in_output = false;
  for (std::string line; std::getline(in, line);) {
    if (in_output) {
      if (!line.empty()) continue;
      in_output = false;
      replayed += (output.empty() ? "ok\n" : output) + "\n";
      output.clear();
    } else if (line == "----") {
      in_output = true;
      replayed += line + "\n";
    } else {
      replayed += line + "\n";
      if (line.empty() || line.front() == '#') continue;
      output += scenario.Run(line);
    }
  }
  return replayed + (in_output && output.empty() ? "ok\n" : output);
}

std::string FirstDifference(const std::string& expected, const std::string& actual) {
  std::istringstream a(expected);
  std::istringstream b(actual);
  std::string line_a;
  std::string line_b;
  for (int number = 1;; ++number) {
    const bool more_a = static_cast<bool>(std::getline(a, line_a));
    const bool more_b = static_cast<bool>(std::getline(b, line_b));
    if (!more_a && !more_b) return ": no difference\n";
    if (more_a && more_b && line_a == line_b) continue;
    return ":" + std::to_string(number) + "\n  expected: " + (more_a ? line_a : "the end") +
           "\n  actual:   " + (more_b ? line_b : "the end") + "\n";
  }
}

TEST_P(ScenarioTest, PrintsWhatIsExpected) {
  const fs::path path = Directory() / (GetParam() + ".txt");
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  const std::string actual = Replay(expected);
  if (std::getenv("RAFTKV_REWRITE") != nullptr) {
    std::ofstream(path) << actual;
    return;
  }
  EXPECT_EQ(actual.find("\nerror:"), std::string::npos) << "a command failed";
  EXPECT_TRUE(actual == expected.str())
      << path.string() << FirstDifference(expected.str(), actual)
      << "To see all of it, run with RAFTKV_REWRITE=1 and look at the difference.";
}

INSTANTIATE_TEST_SUITE_P(Files, ScenarioTest, testing::ValuesIn(Files()),
                         [](const auto& file) { return file.param; });

}  // namespace
}  // namespace raftkv::raft
