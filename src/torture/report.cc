#include "torture/report.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

namespace raftkv::torture {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kErrorsMax = 6;
constexpr size_t kErrorBytesMax = 120;

std::string VerdictName(const Report& report) {
  if (!report.checked) return "NOT CHECKED";
  switch (report.check.verdict) {
    case check::Verdict::kOk:
      return "OK";
    case check::Verdict::kIllegal:
      return "ILLEGAL";
    case check::Verdict::kUnknown:
      break;
  }
  return "UNKNOWN";
}

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  std::array<char, 512> buffer;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  va_end(arguments);
  return buffer.data();
}

struct FaultCount {
  uint64_t times = 0;
  uint64_t slowest_ms = 0;  // from the end of the fault to the first success
  uint64_t unserved = 0;
};

std::map<std::string, FaultCount> CountFaults(const Report& report) {
  std::map<std::string, FaultCount> counts;
  for (const FaultSpan& fault : report.faults) {
    FaultCount& count = counts[fault.name];
    ++count.times;
    if (fault.served_ns == 0) {
      ++count.unserved;
    } else {
      const auto ms = static_cast<uint64_t>((fault.served_ns - fault.end_ns) / 1'000'000);
      count.slowest_ms = std::max(count.slowest_ms, ms);
    }
  }
  return counts;
}

std::vector<std::string> EnabledFaults(const Report& report) {
  std::vector<std::string> names;
  for (const auto& [fault, name] : FaultNames()) {
    if (report.options.faults.contains(fault)) names.push_back(name);
  }
  return names;
}

std::string Joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& text : list) out += (out.empty() ? "" : "; ") + text;
  return out;
}

// The commonest reasons, without the ports and addresses that make one into many.
std::vector<std::pair<std::string, uint64_t>> CommonErrors(const Report& report) {
  std::map<std::string, uint64_t> merged;
  for (const auto& [error, count] : report.errors) {
    merged[error.substr(0, std::min(error.find("127.0.0.1"), kErrorBytesMax))] += count;
  }
  std::vector<std::pair<std::string, uint64_t>> list(merged.begin(), merged.end());
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (list.size() > kErrorsMax) list.resize(kErrorsMax);
  return list;
}

}  // namespace

std::vector<std::string> NotProven(const Report& report) {
  std::vector<std::string> why;
  if (!report.checked || report.check.verdict == check::Verdict::kUnknown) {
    why.emplace_back("the checker could not decide");
  }
  if (report.interrupted) why.emplace_back("the run was interrupted");
  const std::map<std::string, FaultCount> counts = CountFaults(report);
  for (const std::string& name : EnabledFaults(report)) {
    if (!counts.contains(name)) why.push_back("no " + name + " fault came up: raise --seconds");
  }
  // All was synced each time: a node that syncs nothing would have come out of it as well.
  if (counts.contains(FaultName(Fault::kPower)) && report.power.changes == 0) {
    why.emplace_back("no power cut took anything back: raise --seconds or --rate");
  }
  return why;
}

int ExitCode(const Report& report) {
  if (!report.problems.empty()) return 1;
  if (report.checked && report.check.verdict == check::Verdict::kIllegal) return 1;
  return NotProven(report).empty() ? 0 : 3;
}

uint32_t Percentile(std::vector<uint32_t> latencies_us, double p) {
  if (latencies_us.empty()) return 0;
  const size_t at = std::min(latencies_us.size() - 1,
                             static_cast<size_t>(p * static_cast<double>(latencies_us.size())));
  std::nth_element(latencies_us.begin(), latencies_us.begin() + static_cast<long>(at),
                   latencies_us.end());
  return latencies_us[at];
}

Totals TotalsOf(const std::vector<Second>& timeline) {
  Totals totals;
  std::vector<uint32_t> all;
  for (const Second& second : timeline) {
    totals.ok += second.ok;
    totals.failed += second.failed;
    totals.unknown += second.unknown;
    all.insert(all.end(), second.latencies_us.begin(), second.latencies_us.end());
  }
  totals.p50_us = Percentile(all, 0.5);
  totals.p99_us = Percentile(all, 0.99);
  totals.max_us = Percentile(all, 1);
  return totals;
}

std::string TextReport(const Report& report) {
  const Totals totals = TotalsOf(report.timeline);
  std::string out = Format("raftkv-torture: seed %llu, %.0f s, %d nodes, %d clients, %d keys\n",
                           static_cast<unsigned long long>(report.options.seed), report.seconds,
                           report.options.nodes, report.options.clients, report.options.keys);
  out += Format("operations: %llu succeeded, %llu refused, %llu without an answer\n",
                static_cast<unsigned long long>(totals.ok),
                static_cast<unsigned long long>(totals.failed),
                static_cast<unsigned long long>(totals.unknown));
  out += Format(
      "latency of those that succeeded: half within %.1f ms, 99%% within %.1f ms, "
      "slowest %.1f ms\n",
      totals.p50_us / 1000.0, totals.p99_us / 1000.0, totals.max_us / 1000.0);
  for (const auto& [error, count] : CommonErrors(report)) {
    out += Format("%8llu times: ", static_cast<unsigned long long>(count)) + error + "\n";
  }
  for (const auto& [name, count] : CountFaults(report)) {
    out += Format("fault %-6s %4llu times; served again within %llu ms", name.c_str(),
                  static_cast<unsigned long long>(count.times),
                  static_cast<unsigned long long>(count.slowest_ms));
    if (count.unserved > 0) {
      out += Format(", %llu not before the run ended",
                    static_cast<unsigned long long>(count.unserved));
    }
    out += "\n";
  }
  if (report.options.faults.contains(Fault::kPower)) {
    out += Format("power cuts took back %llu unsynced changes of %llu files, and left %llu\n",
                  static_cast<unsigned long long>(report.power.changes),
                  static_cast<unsigned long long>(report.power.files),
                  static_cast<unsigned long long>(report.power.kept));
  }
  if (report.options.faults.contains(Fault::kDisk)) {
    out += Format("full disks ended a node %d times\n", report.ended_by_full_disk);
  }
  for (const std::string& left_out : report.left_out) out += "left out: " + left_out + "\n";
  out += Format("leaders: %zu\n", report.leaders.size());
  out += Format("checker: %s, %llu operations in %zu groups of keys, %.1f s",
                VerdictName(report).c_str(), static_cast<unsigned long long>(report.operations),
                report.check.groups, report.check_seconds);
  if (!report.check.why.empty()) out += " (" + report.check.why + ")";
  out += "\nhistory: " + report.history + "\n";
  for (const std::string& problem : report.problems) out += "PROBLEM: " + problem + "\n";
  const int code = ExitCode(report);
  out += code == 0   ? "PASS\n"
         : code == 1 ? "FAIL; again: " + ReplayCommand(report.options) + "\n"
                     : "NOT PROVEN: " + Joined(NotProven(report)) + "\n";
  return out;
}

std::string JsonReport(const Report& report) {
  const Totals totals = TotalsOf(report.timeline);
  Json out;
  out["seed"] = report.options.seed;
  out["seconds"] = report.seconds;
  out["replay"] = ReplayCommand(report.options);
  out["exit_code"] = ExitCode(report);
  out["verdict"] = VerdictName(report);
  out["why"] = report.check.why;
  out["problems"] = report.problems;
  out["not_proven"] = NotProven(report);
  out["enabled"] = EnabledFaults(report);
  out["left_out"] = report.left_out;
  out["operations"] = {{"ok", totals.ok}, {"failed", totals.failed}, {"unknown", totals.unknown}};
  out["latency_us"] = {{"p50", totals.p50_us}, {"p99", totals.p99_us}, {"max", totals.max_us}};
  out["errors"] = report.errors;
  out["power"] = {{"taken_back", report.power.changes},
                  {"files", report.power.files},
                  {"kept", report.power.kept}};
  out["ended_by_full_disk"] = report.ended_by_full_disk;
  out["history"] = report.history;
  out["faults"] = Json::array();
  for (const FaultSpan& fault : report.faults) {
    out["faults"].push_back({{"name", fault.name},
                             {"what", fault.what},
                             {"begin_ns", fault.begin_ns},
                             {"end_ns", fault.end_ns},
                             {"served_ns", fault.served_ns}});
  }
  out["leaders"] = Json::array();
  for (const LeaderChange& change : report.leaders) {
    out["leaders"].push_back(
        {{"at_ns", change.at_ns}, {"leader", change.leader}, {"term", change.term}});
  }
  out["timeline"] = Json::array();
  for (const Second& second : report.timeline) {
    out["timeline"].push_back({{"ok", second.ok},
                               {"failed", second.failed},
                               {"unknown", second.unknown},
                               {"p50_us", Percentile(second.latencies_us, 0.5)},
                               {"p99_us", Percentile(second.latencies_us, 0.99)},
                               {"max_us", Percentile(second.latencies_us, 1)}});
  }
  // The end of a node's log is cut at any byte, and errors are whatever a node answered.
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace raftkv::torture
