#include "bench/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

namespace raftkv::bench {
namespace {

template <typename T>
CLI::CheckedTransformer OneOf(std::map<std::string, T> names) {
  return CLI::CheckedTransformer(std::move(names));
}

const std::map<std::string, Operation> kOperations = {{"put", Operation::kPut},
                                                      {"get", Operation::kGet},
                                                      {"get-serializable", Operation::kGet},
                                                      {"range", Operation::kRange},
                                                      {"txn", Operation::kTxn},
                                                      {"mixed", Operation::kMixed},
                                                      {"delete", Operation::kDelete},
                                                      {"load", Operation::kLoad}};

// CLI::Range, which lets NaN through.
CLI::Validator Number(double min, double max) {
  const std::string allowed = CLI::Range(min, max).get_description();
  return CLI::Validator(
      [=](const std::string& text) {
        double number = 0;
        const bool fits = CLI::detail::lexical_cast(text, number) && number >= min && number <= max;
        return fits ? std::string() : text + " is no " + allowed;
      },
      allowed);
}

// A measurement, or a wait for an answer, takes time.
constexpr double kSecondsMin = 0.001;
constexpr double kSecondsMax = 1e6;

void AddLoop(CLI::App* app, BenchOptions* o) {
  app->add_option("--endpoints", o->endpoints, "host:port,... ; connections take turns");
  app->add_option("--connections", o->connections)->check(CLI::Range(1, 10'000));
  app->add_option("--clients", o->clients, "Closed loop: requests in flight")
      ->check(CLI::Range(1, 100'000));
  app->add_option("--rate", o->rate,
                  "Open loop: requests a second over all clients, whatever the answers; 0: closed")
      ->check(Number(0, 10e6));
  app->add_option("--spacing", o->spacing, "Open loop: poisson, or fixed times between requests")
      ->transform(OneOf<Spacing>({{"poisson", Spacing::kPoisson}, {"fixed", Spacing::kFixed}}));
  app->add_option("--clients-max", o->clients_max,
                  "Open loop: most requests in flight; more that fall due are not sent but counted")
      ->check(CLI::Range(1, 100'000));
  app->add_option("--seconds", o->seconds, "Measured time, after the warm-up")
      ->check(Number(kSecondsMin, kSecondsMax));
  app->add_option("--warmup", o->warmup_seconds, "Seconds before measuring")
      ->check(Number(0, kSecondsMax));
  app->add_option("--operations", o->operations,
                  "Requests to send, with no bound in time; 0: as many as --seconds allows");
  app->add_option("--timeout", o->timeout_seconds, "Seconds after which a request has failed")
      ->check(Number(kSecondsMin, kSecondsMax));
}

void AddData(CLI::App* app, BenchOptions* o) {
  app->add_option("--keys", o->keys, "Size of the key space; what a load puts")
      ->check(CLI::Range(uint64_t{1}, uint64_t{0xffffffff}));
  app->add_option("--distribution", o->distribution, "Of the keys: uniform, sequential, zipf")
      ->transform(OneOf<Distribution>({{"uniform", Distribution::kUniform},
                                       {"sequential", Distribution::kSequential},
                                       {"zipf", Distribution::kZipf}}));
  app->add_option("--theta", o->theta, "Of zipf: the larger, the more skewed")
      ->check(Number(0.01, 0.999));
  app->add_option("--value-bytes", o->value_bytes)->check(CLI::Range(0, 1 << 20));
  app->add_flag("--random-values", o->random_values,
                "Values that do not compress (without: one letter, repeated)");
  app->add_option("--seed", o->seed);
  app->add_option("--batch", o->batch, "load: puts to a request (etcd takes 128)")
      ->check(CLI::Range(1, 10'000));
  app->add_option("--range-keys", o->range_keys, "range: keys next to each other to a request")
      ->check(CLI::Range(1, 1'000'000));
  app->add_option("--compare", o->compare,
                  "txn: compares the key's mod revision (that it exists) or its value (that of "
                  "this --value-bytes, not random), and puts, or else gets")
      ->transform(OneOf<Compare>({{"mod", Compare::kMod}, {"value", Compare::kValue}}));
  app->add_option("--put-percent", o->put_percent, "mixed: share of puts; the rest gets")
      ->check(Number(0, 100));
}

void AddOutput(CLI::App* app, BenchOptions* o) {
  app->add_option("--format", o->format, "text, csv, or json (a line each, with the histogram)")
      ->transform(
          OneOf<Format>({{"text", Format::kText}, {"json", Format::kJson}, {"csv", Format::kCsv}}));
  app->add_option("--interval", o->interval_seconds,
                  "Also print a line each so many seconds; 0: only at the end")
      ->check(Number(0, kSecondsMax));
  app->add_flag("--failures-ok", o->failures_ok, "End with 0 even if requests failed");
  app->add_option("--cpu-of", o->cpu_of,
                  "Process ids: also print the CPU they used while it was measured")
      ->delimiter(',');
}

}  // namespace

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    if (comma > start) parts.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

bool ParseBenchOptions(int argc, char** argv, BenchOptions* options, int* exit_code) {
  CLI::App app{"Load on an etcd v3 endpoint, in a closed or an open loop", "raftkv-bench"};
  std::vector<std::string> names;
  for (const auto& [name, operation] : kOperations) names.push_back(name);
  app.add_option("operation", options->operation_name,
                 "put, get, get-serializable, range, txn, mixed, delete; or load: every key once, "
                 "many to a transaction")
      ->check(CLI::IsMember(names))
      ->required();
  AddLoop(&app, options);
  AddData(&app, options);
  AddOutput(&app, options);
  try {
    app.parse(argc, argv);
    options->operation = kOperations.at(options->operation_name);
    options->serializable = options->operation_name == "get-serializable";
    if (options->open_loop() && options->loads()) {
      throw CLI::ValidationError("--rate", "a load has no rate");
    }
    if (SplitCommas(options->endpoints).empty()) {
      throw CLI::ValidationError("--endpoints", "there are none");
    }
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error);
    return false;
  }
  return true;
}

}  // namespace raftkv::bench
