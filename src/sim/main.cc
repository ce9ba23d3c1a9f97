// raftkv-sim: whole clusters in one thread, each from a seed (docs/simulation.md).
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>

#include "common/mutation.h"
#include "sim/runner.h"

namespace raftkv::sim {
namespace {

using Clock = std::chrono::steady_clock;

struct CommandLine {
  std::string program;
  std::string mutation;
  std::optional<uint64_t> seed;
  uint64_t seeds = 1;
  double seconds = 0;
  size_t jobs = 1;
  bool trace = false;
  bool shrink = false;
  PlanLimits limits;
};

// Of the sources this was built from, where they still are.
std::string Commit() {
  std::FILE* const git =
      popen("git -C " RAFTKV_SOURCE_DIR " describe --always --dirty --abbrev=12 2>/dev/null", "r");
  if (git == nullptr) return "unknown";
  char text[100] = {};
  const bool got = std::fgets(text, sizeof(text), git) != nullptr;
  pclose(git);
  std::string commit = got ? text : "unknown";
  while (!commit.empty() && commit.back() == '\n') commit.pop_back();
  return commit;
}

std::string ReplayCommand(uint64_t seed, const PlanLimits& limits, const CommandLine& line) {
  const std::string mutation = line.mutation.empty() ? "" : " --mutation " + line.mutation;
  return line.program + " " + ReplayArguments(seed, limits) + mutation;
}

const char* Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kSafety:
      return "SAFETY";
    case Outcome::kLiveness:
      return "LIVENESS";
    case Outcome::kCrash:
      return "CRASH";
  }
  return "?";
}

void PrintFailure(const RunResult& result, const CommandLine& line) {
  std::printf(
      "%s: seed %llu: %s\n  after %llu steps, %.1f simulated seconds\n  plan: %s\n"
      "  commit: %s\n  replay: %s\n",
      Name(result.outcome), static_cast<unsigned long long>(result.seed), result.message.c_str(),
      static_cast<unsigned long long>(result.summary.steps),
      static_cast<double>(result.summary.micros) / 1e6,
      ToString(MakePlan(result.seed, line.limits)).c_str(), Commit().c_str(),
      ReplayCommand(result.seed, line.limits, line).c_str());
  if (line.shrink) {
    const PlanLimits small = Shrink(result.seed, line.limits, result.outcome, [](const Plan& plan) {
      return RunApart(plan, /*trace=*/false);
    });
    std::printf("  shrunk: %s\n", ReplayCommand(result.seed, small, line).c_str());
  }
  std::fflush(stdout);
}

int Run(const CommandLine& line) {
  std::random_device device;
  const uint64_t first = line.seed ? *line.seed : device();
  if (line.trace) {
    const RunResult result = RunApart(MakePlan(first, line.limits), /*trace=*/true);
    if (result.outcome != Outcome::kOk) PrintFailure(result, line);
    return static_cast<int>(result.outcome);
  }
  const auto start = Clock::now();
  uint64_t begun = 0;
  uint64_t passed = 0;
  RunSummary total;
  Outcome outcome = Outcome::kOk;
  RunMany(
      line.jobs,
      [&]() -> std::optional<Plan> {
        const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
        if (line.seconds > 0 ? elapsed > line.seconds : begun >= line.seeds) return std::nullopt;
        return MakePlan(first + begun++, line.limits);
      },
      [&](const RunResult& result) {
        if (result.outcome == Outcome::kOk) {
          total.Add(result.summary);
          ++passed;
          return true;
        }
        if (outcome == Outcome::kOk) {
          PrintFailure(result, line);
          outcome = result.outcome;
        }
        return false;
      });
  const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("seeds from %llu: %llu passed, in %.1f s\n%s\n",
              static_cast<unsigned long long>(first), static_cast<unsigned long long>(passed),
              elapsed, ToString(total).c_str());
  if (line.seeds == 1) {
    std::printf("trace hash %016llx\n", static_cast<unsigned long long>(total.hash));
  }
  return static_cast<int>(outcome);
}

}  // namespace

int Main(int argc, char** argv) {
  CLI::App app("Simulates a whole raftkv cluster in one thread, with faults, from a seed.",
               "raftkv-sim");
  CommandLine line;
  line.program = argv[0];
  std::vector<std::string> without;
  double hours = 0;
  app.add_option("--seed", line.seed, "The first seed; a random one if not given");
  app.add_option("--seeds", line.seeds, "How many seeds, one after the other");
  app.add_option("--seconds", line.seconds, "Go on for so long instead");
  app.add_option("--hours", hours, "Go on for so long instead");
  app.add_option("--steps", line.limits.steps, "Events of a run before the faults stop");
  app.add_option("--clients", line.limits.clients, "No more clients than this");
  app.add_option("--without", without, "Leave out a kind of fault (may be repeated)");
  app.add_option("--jobs", line.jobs, "Processes at a time; 0: one a processor");
#ifdef RAFTKV_MUTATIONS
  app.add_option("--mutation", line.mutation, "Put a known bug back (src/common/mutation.h)");
#endif
  app.add_flag("--trace", line.trace, "Print every event of one run");
  app.add_flag("--shrink", line.shrink, "Make a failure smaller");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
#ifdef RAFTKV_MUTATIONS
  if (!line.mutation.empty()) {
    const auto it = std::find(kMutationNames.begin(), kMutationNames.end(), line.mutation);
    if (it == kMutationNames.end()) {
      std::fprintf(stderr, "raftkv-sim: there is no mutation %s\n", line.mutation.c_str());
      return 2;
    }
    active_mutation = static_cast<Mutation>(it - kMutationNames.begin());
  }
#endif
  for (const std::string& name : without) {
    const std::optional<Fault> fault = ParseFault(name);
    if (!fault) {
      std::string names;
      for (size_t i = 0; i < kFaultKinds; ++i) {
        names += " " + std::string(FaultName(static_cast<Fault>(i)));
      }
      std::fprintf(stderr, "raftkv-sim: there is no fault %s; there are:%s\n", name.c_str(),
                   names.c_str());
      return 2;
    }
    line.limits.without.insert(*fault);
  }
  if (hours > 0) line.seconds = hours * 3600;
  if (line.jobs == 0) line.jobs = static_cast<size_t>(sysconf(_SC_NPROCESSORS_ONLN));
  return Run(line);
}

}  // namespace raftkv::sim

int main(int argc, char** argv) { return raftkv::sim::Main(argc, argv); }
