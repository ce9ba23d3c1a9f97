// Lines that say what was measured, for people and for programs.
#pragma once

#include <string>

#include "bench/cpu_meter.h"
#include "bench/options.h"
#include "bench/result.h"

namespace raftkv::bench {

// What only the whole run has.
struct Totals {
  const CpuMeter* cpu;
  double drain_seconds;  // from the last request sent to the last answer
};

// Each returns whole lines. `totals` is null for an interval.
class Output {
 public:
  explicit Output(const BenchOptions& options) : options_(options) {}

  std::string Header() const;  // of CSV; otherwise empty
  std::string Line(const Result& result, const Totals* totals) const;

 private:
  std::string Text(const Result& result, const Totals* totals) const;
  std::string Csv(const Result& result, const Totals* totals) const;
  std::string Json(const Result& result, const Totals* totals) const;

  const BenchOptions& options_;
};

}  // namespace raftkv::bench
