// What came of a run: as text, as JSON, and as one HTML page that needs nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "check/checker.h"
#include "torture/options.h"
#include "torture/recorder.h"
#include "torture/undo_log.h"

namespace raftkv::torture {

struct Report {
  Options options;
  std::vector<std::string> left_out;  // faults that could not be had here, and why
  double seconds = 0;                 // that it ran
  bool interrupted = false;           // before --seconds were over
  std::vector<FaultSpan> faults;
  std::vector<LeaderChange> leaders;
  std::vector<Second> timeline;
  std::map<std::string, uint64_t> errors;  // why operations did not succeed, how often
  PowerCut power;
  int ended_by_full_disk = 0;  // nodes, as they are to
  check::CheckReport check;
  bool checked = false;
  uint64_t operations = 0;
  double check_seconds = 0;
  std::vector<std::string> problems;  // beside what the checker says; none is a pass
  std::string history;                // its path
};

// 0: proven; 1: something is wrong; 3: not proven. (2: it could not run.)
int ExitCode(const Report& report);

// Why the run proves less than was asked, where nothing is wrong; empty: it proves all of it.
std::vector<std::string> NotProven(const Report& report);

std::string TextReport(const Report& report);
std::string JsonReport(const Report& report);
std::string HtmlReport(const Report& report);

// Counts and latencies of the whole run.
struct Totals {
  uint64_t ok = 0;
  uint64_t failed = 0;
  uint64_t unknown = 0;
  uint32_t p50_us = 0;
  uint32_t p99_us = 0;
  uint32_t max_us = 0;
};
Totals TotalsOf(const std::vector<Second>& timeline);
// Of latencies in any order; 0 of none.
uint32_t Percentile(std::vector<uint32_t> latencies_us, double p);

}  // namespace raftkv::torture
