// A history file for raftkv-check (src/check/history_file.h), and the checks on what it says.
#include <sstream>

#include "check/checker.h"
#include "check/history_file.h"
#include "check/picture.h"
#include "fuzz/fuzz.h"

namespace raftkv::fuzz {

FUZZ_TARGET(history) {
  std::istringstream in{std::string(input)};
  const StatusOr<check::History> history = check::ReadHistory(in);
  if (!history.ok()) return;
  std::string written;
  for (const check::Operation& op : *history) written += check::FormatOperation(op) + "\n";
  std::istringstream again_in(written);
  const StatusOr<check::History> again = check::ReadHistory(again_in);
  Require(again.ok(), "what was written can't be read");
  std::string rewritten;
  for (const check::Operation& op : *again) rewritten += check::FormatOperation(op) + "\n";
  Require(rewritten == written, "a history changed when it was written");
  check::CheckOptions options;
  options.time_max = std::chrono::milliseconds(100);
  const check::CheckReport report = check::Check(*history, options);
  if (report.verdict == check::Verdict::kIllegal) {
    (void)check::Picture(*history, report, "fuzz");
  }
}

}  // namespace raftkv::fuzz
