// What raftkv-bench is asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/generators.h"
#include "bench/schedule.h"

namespace raftkv::bench {

enum class Operation { kPut, kGet, kRange, kTxn, kMixed, kDelete, kLoad };
enum class Compare { kMod, kValue };
enum class Format { kText, kJson, kCsv };

struct BenchOptions {
  std::string operation_name;
  Operation operation = Operation::kPut;
  bool serializable = false;

  std::string endpoints = "127.0.0.1:2379";
  int connections = 1;
  int clients = 1;
  double timeout_seconds = 30;

  // An open loop, if it is not 0: then there are as many clients as it takes, but at most these.
  double rate = 0;
  Spacing spacing = Spacing::kPoisson;
  int clients_max = 1000;

  double seconds = 5;
  double warmup_seconds = 1;
  double interval_seconds = 0;
  uint64_t operations = 0;

  uint64_t keys = 100'000;
  Distribution distribution = Distribution::kUniform;
  double theta = 0.99;
  int value_bytes = 256;
  bool random_values = false;
  uint64_t seed = 1;

  int batch = 100;            // load: puts to a request
  uint64_t range_keys = 100;  // range: keys to a request
  Compare compare = Compare::kMod;
  double put_percent = 10;  // mixed

  Format format = Format::kText;
  bool failures_ok = false;
  std::vector<int> cpu_of;  // process ids

  bool loads() const { return operation == Operation::kLoad; }
  bool open_loop() const { return rate > 0; }
};

// Fills `options`; false: end now with `exit_code`, what there was to say was said.
bool ParseBenchOptions(int argc, char** argv, BenchOptions* options, int* exit_code);

std::vector<std::string> SplitCommas(const std::string& text);

}  // namespace raftkv::bench
