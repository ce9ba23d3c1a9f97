// raftkv-check: is a history of a key-value store linearizable?
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "check/checker.h"
#include "check/history_file.h"
#include "check/picture.h"

namespace raftkv::tools {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitIllegal = 1;
constexpr int kExitCouldNotRun = 2;
constexpr int kExitUnknown = 3;

int CouldNotRun(const std::string& why) {
  std::fprintf(stderr, "raftkv-check: %s\n", why.c_str());
  return kExitCouldNotRun;
}

StatusOr<check::History> Read(const std::string& path) {
  if (path == "-") return check::ReadHistory(std::cin);
  std::ifstream file(path);
  if (!file) return Status(Code::kNotFound, "can't open " + path);
  StatusOr<check::History> history = check::ReadHistory(file);
  if (!history.ok())
    return Status(history.status().code(), path + ", " + history.status().message());
  return history;
}

void PrintViolation(const check::History& history, const check::Violation& violation) {
  std::string keys;
  for (const std::string& key : violation.keys) {
    keys += (keys.empty() ? "" : ", ") + check::Quote(key);
  }
  std::printf("%s: %s\n", violation.why.c_str(), keys.c_str());
  for (const size_t i : violation.ops) {
    std::printf("  %s\n", check::Describe(history[i], history[violation.ops[0]].invoke_ns).c_str());
  }
}

bool WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  file.close();
  return !file.fail();
}

int Main(int argc, char** argv) {
  CLI::App app(
      "raftkv-check: is a history of a key-value store linearizable? The format of the file is in "
      "docs/history-format.md",
      "raftkv-check");
  app.footer(
      "Exit codes: 0 OK; 1 ILLEGAL; 2 could not run; 3 UNKNOWN (a limit was reached first).");
  app.set_version_flag("--version", "raftkv-check " RAFTKV_VERSION);
  std::string path, html;
  double time_s = 60;
  uint64_t memory_mb = 1024;
  check::CheckOptions options;
  bool no_revisions = false;
  app.add_option("history", path, "JSON lines, one operation a line; - for standard input")
      ->required();
  app.add_option("--html", html, "Where to draw what is illegal, as one HTML page");
  app.add_option("--time-s", time_s,
                 "Give up after so long; finding a small window may take 10 s more")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  app.add_option("--memory-mb", memory_mb, "Give up at about so much memory")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_flag("--no-revisions", no_revisions, "Don't check revisions, only values");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitCouldNotRun;
  }
  options.time_max = std::chrono::milliseconds(static_cast<int64_t>(time_s * 1000));
  options.memory_bytes = memory_mb << 20;
  options.revisions = !no_revisions;

  const StatusOr<check::History> history = Read(path);
  if (!history.ok()) return CouldNotRun(history.status().message());
  if (history->empty()) return CouldNotRun(path + " holds no operations: nothing was checked");
  const check::CheckReport report = check::Check(*history, options);
  for (const check::Violation& violation : report.violations) PrintViolation(*history, violation);
  if (!html.empty() && report.verdict == check::Verdict::kIllegal &&
      !WriteFile(html, check::Picture(*history, report, path))) {
    return CouldNotRun("can't write " + html);
  }
  if (report.unknown_groups > 0) {
    std::printf("%zu group(s) of keys not decided: %s; raise --time-s or --memory-mb\n",
                report.unknown_groups, report.why.c_str());
  }
  const char* verdict = report.verdict == check::Verdict::kOk        ? "OK"
                        : report.verdict == check::Verdict::kIllegal ? "ILLEGAL"
                                                                     : "UNKNOWN";
  std::printf("%s: %zu operations, %zu group(s) of keys, at most %zu operations in one\n", verdict,
              history->size(), report.groups, report.largest_group);
  return report.verdict == check::Verdict::kOk        ? kExitOk
         : report.verdict == check::Verdict::kIllegal ? kExitIllegal
                                                      : kExitUnknown;
}

}  // namespace
}  // namespace raftkv::tools

int main(int argc, char** argv) { return raftkv::tools::Main(argc, argv); }
