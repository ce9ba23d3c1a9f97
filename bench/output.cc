#include "bench/output.h"

#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

namespace raftkv::bench {
namespace {

[[gnu::format(printf, 1, 2)]] std::string Print(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

double Rounded(double value) { return std::stod(Print("%.3f", value)); }

unsigned long long Long(uint64_t value) { return value; }

double PerOperation(double seconds, const Result& result) {
  const uint64_t ops = result.latencies_us().count();
  return ops == 0 ? 0 : seconds * 1e6 / static_cast<double>(ops);
}

double OthersSeconds(const CpuMeter& cpu) {
  const std::vector<double> all = cpu.others_seconds();
  return std::accumulate(all.begin(), all.end(), 0.0);
}

}  // namespace

std::string Output::Header() const {
  if (options_.format != Format::kCsv) return "";
  return "stretch,operation,clients,connections,rate,ops,failures,unstarted,found,seconds,ops_per_"
         "s,"
         "p50_us,p90_us,p99_us,p999_us,max_us,gap_us,generator_cpu_us_per_op,"
         "generator_cpu_percent,others_cpu_us_per_op\n";
}

std::string Output::Line(const Result& result, const Totals* totals) const {
  switch (options_.format) {
    case Format::kJson:
      return Json(result, totals);
    case Format::kCsv:
      return Csv(result, totals);
    case Format::kText:
      break;
  }
  return Text(result, totals);
}

// Scripts read the fields by their names, and tell an interval by its beginning with ops=.
std::string Output::Text(const Result& result, const Totals* totals) const {
  const Histogram& us = result.latencies_us();
  std::string line;
  if (totals != nullptr) {
    line = options_.operation_name;
    line +=
        Print(" clients=%d connections=%d ",
              options_.open_loop() ? options_.clients_max : options_.clients, options_.connections);
    if (options_.open_loop()) line += Print("rate=%.0f ", options_.rate);
    if (options_.loads()) {
      line += Print("keys=%llu puts_per_request=%d value_bytes=%d ", Long(options_.keys),
                    options_.batch, options_.value_bytes);
    }
  }
  line += Print(
      "ops=%llu failures=%llu seconds=%.2f ops/s=%.0f p50_us=%u p90_us=%u p99_us=%u "
      "p999_us=%u max_us=%u gap_us=%u",
      Long(us.count()), Long(result.failures()), result.seconds(), result.rate(),
      us.Percentile(0.5), us.Percentile(0.9), us.Percentile(0.99), us.Percentile(0.999), us.max(),
      result.gap_us());
  if (options_.open_loop()) line += Print(" unstarted=%llu", Long(result.unstarted()));
  if (totals != nullptr) {
    const CpuMeter& cpu = *totals->cpu;
    line += Print(" found=%llu generator_cpu_us_per_op=%.1f generator_cpu_percent=%.1f",
                  Long(result.found()), PerOperation(cpu.own_seconds(), result), cpu.own_percent());
    if (cpu.has_others()) {
      line += Print(" others_cpu_us_per_op=%.1f", PerOperation(OthersSeconds(cpu), result));
    }
  }
  return line + "\n";
}

std::string Output::Csv(const Result& result, const Totals* totals) const {
  const Histogram& us = result.latencies_us();
  std::string line = totals != nullptr ? "total," : "interval,";
  line += options_.operation_name;
  line += Print(",%d,%d,%.0f", options_.open_loop() ? options_.clients_max : options_.clients,
                options_.connections, options_.rate);
  line += Print(",%llu,%llu,%llu,%llu,%.3f,%.1f,%u,%u,%u,%u,%u,%u", Long(us.count()),
                Long(result.failures()), Long(result.unstarted()), Long(result.found()),
                result.seconds(), result.rate(), us.Percentile(0.5), us.Percentile(0.9),
                us.Percentile(0.99), us.Percentile(0.999), us.max(), result.gap_us());
  if (totals == nullptr) return line + ",,,\n";
  const CpuMeter& cpu = *totals->cpu;
  line += Print(",%.1f,%.1f,", PerOperation(cpu.own_seconds(), result), cpu.own_percent());
  if (cpu.has_others()) line += Print("%.1f", PerOperation(OthersSeconds(cpu), result));
  return line + "\n";
}

std::string Output::Json(const Result& result, const Totals* totals) const {
  const Histogram& us = result.latencies_us();
  nlohmann::ordered_json json = {
      {"stretch", totals != nullptr ? "total" : "interval"},
      {"operation", options_.operation_name},
      {"clients", options_.open_loop() ? options_.clients_max : options_.clients},
      {"connections", options_.connections},
      {"rate", options_.rate},
      {"keys", options_.keys},
      {"value_bytes", options_.value_bytes},
      {"seed", options_.seed},
      {"ops", us.count()},
      {"failures", result.failures()},
      {"failures_by_code", result.failures_by_code()},
      {"unstarted", result.unstarted()},
      {"found", result.found()},
      {"seconds", Rounded(result.seconds())},
      {"ops_per_s", Rounded(result.rate())},
      {"mean_us", Rounded(us.mean())},
      {"min_us", us.min()},
      {"p50_us", us.Percentile(0.5)},
      {"p90_us", us.Percentile(0.9)},
      {"p99_us", us.Percentile(0.99)},
      {"p999_us", us.Percentile(0.999)},
      {"max_us", us.max()},
      {"gap_us", result.gap_us()}};
  if (totals == nullptr) return json.dump() + "\n";
  const CpuMeter& cpu = *totals->cpu;
  json["drain_seconds"] = Rounded(totals->drain_seconds);
  json["generator_cpu_us_per_op"] = Rounded(PerOperation(cpu.own_seconds(), result));
  json["generator_cpu_percent"] = Rounded(cpu.own_percent());
  if (cpu.has_others()) {
    json["others_cpu_seconds"] = cpu.others_seconds();
    json["others_cpu_us_per_op"] = Rounded(PerOperation(OthersSeconds(cpu), result));
  }
  // [least, largest, how many] of each bucket.
  auto buckets = nlohmann::ordered_json::array();
  for (const Histogram::Bucket& bucket : us.buckets()) {
    buckets.push_back({bucket.low, bucket.high, bucket.count});
  }
  json["histogram_us"] = std::move(buckets);
  return json.dump() + "\n";
}

}  // namespace raftkv::bench
