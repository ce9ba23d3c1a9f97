#include "sim/runner.h"

#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <type_traits>
#include <utility>

#include <spdlog/spdlog.h>

namespace raftkv::sim {
namespace {

static_assert(std::is_trivially_copyable_v<RunSummary>, "it goes through a pipe");

// A run that takes longer, of the processor's time, hangs: the alarm ends it. Real time would go on
// while the machine sleeps.
constexpr time_t kSecondsMax = 600;

struct Child {
  uint64_t seed = 0;
  int pipe = -1;
};

void WriteAll(int fd, const char* bytes, size_t n) {
  while (n > 0) {
    const ssize_t written = write(fd, bytes, n);
    if (written <= 0) return;
    bytes += written;
    n -= static_cast<size_t>(written);
  }
}

// The child's end: the summary, then the message.
[[noreturn]] void RunAndReport(const Plan& plan, bool trace, int fd) {
  itimerval limit{};
  limit.it_value.tv_sec = kSecondsMax;
  setitimer(ITIMER_PROF, &limit, nullptr);
  const RunResult result = RunHere(plan, trace);
  std::fflush(stdout);
  WriteAll(fd, reinterpret_cast<const char*>(&result.summary), sizeof(result.summary));
  WriteAll(fd, result.message.data(), result.message.size());
  // Without destructors: what a failed run holds is in no state to be put away.
  _exit(static_cast<int>(result.outcome));
}

std::pair<pid_t, Child> Launch(const Plan& plan, bool trace) {
  int ends[2];
  std::fflush(stdout);
  if (pipe(ends) != 0) {
    std::perror("raftkv-sim: pipe");
    std::exit(1);
  }
  const pid_t pid = fork();
  if (pid < 0) {
    std::perror("raftkv-sim: fork");
    std::exit(1);
  }
  if (pid == 0) {
    close(ends[0]);
    RunAndReport(plan, trace, ends[1]);
  }
  close(ends[1]);
  return {pid, Child{plan.seed, ends[0]}};
}

RunResult Collect(const Child& child, int status) {
  RunResult result;
  result.seed = child.seed;
  std::string bytes;
  char buffer[4096];
  for (ssize_t n; (n = read(child.pipe, buffer, sizeof(buffer))) > 0;) {
    bytes.append(buffer, static_cast<size_t>(n));
  }
  close(child.pipe);
  if (bytes.size() >= sizeof(RunSummary)) {
    std::memcpy(&result.summary, bytes.data(), sizeof(RunSummary));
    result.message = bytes.substr(sizeof(RunSummary));
  }
  if (WIFEXITED(status)) {
    result.outcome = static_cast<Outcome>(WEXITSTATUS(status));
  } else {
    result.outcome = Outcome::kCrash;
    result.message = std::string("ended by signal ") + strsignal(WTERMSIG(status));
  }
  return result;
}

}  // namespace

RunResult RunHere(const Plan& plan, bool trace) {
  spdlog::set_level(spdlog::level::off);
  RunResult result;
  result.seed = plan.seed;
  // Kept when a run fails: its nodes are not to be closed tidily.
  auto cluster = std::make_unique<Cluster>(plan, trace);
  try {
    result.summary = cluster->Run();
    return result;
  } catch (const Violation& violation) {
    result.outcome = Outcome::kSafety;
    result.message = violation.what();
  } catch (const Stuck& stuck) {
    result.outcome = Outcome::kLiveness;
    result.message = stuck.what();
  } catch (const std::exception& crash) {
    result.outcome = Outcome::kCrash;
    result.message = crash.what();
  }
  result.summary = cluster.release()->summary();
  return result;
}

RunResult RunApart(const Plan& plan, bool trace) {
  const auto [pid, child] = Launch(plan, trace);
  // The pipe first: a child with much to say would wait for us.
  int status = 0;
  RunResult result = Collect(child, 0);
  waitpid(pid, &status, 0);
  if (WIFEXITED(status)) {
    result.outcome = static_cast<Outcome>(WEXITSTATUS(status));
  } else {
    result.outcome = Outcome::kCrash;
    result.message = std::string("ended by signal ") + strsignal(WTERMSIG(status));
  }
  return result;
}

void RunMany(size_t processes, const std::function<std::optional<Plan>()>& next,
             const std::function<bool(const RunResult&)>& done) {
  std::map<pid_t, Child> running;
  bool go_on = true;
  for (;;) {
    while (go_on && running.size() < processes) {
      const std::optional<Plan> plan = next();
      if (!plan) {
        go_on = false;
        break;
      }
      running.insert(Launch(*plan, /*trace=*/false));
    }
    if (running.empty()) return;
    int status = 0;
    const pid_t pid = waitpid(-1, &status, 0);
    const auto child = running.find(pid);
    if (child == running.end()) continue;
    const RunResult result = Collect(child->second, status);
    running.erase(child);
    if (!done(result)) go_on = false;
  }
}

PlanLimits Shrink(uint64_t seed, const PlanLimits& limits, Outcome outcome,
                  const std::function<RunResult(const Plan&)>& run) {
  PlanLimits best = limits;
  uint64_t steps = 0;
  const auto still_fails = [&](const PlanLimits& tried) {
    const RunResult result = run(MakePlan(seed, tried));
    if (result.outcome != outcome) return false;
    steps = result.summary.steps;
    return true;
  };
  const Plan plan = MakePlan(seed, limits);
  for (size_t i = 0; i < kFaultKinds; ++i) {
    if (plan.faults[i] == 0) continue;
    PlanLimits fewer = best;
    fewer.without.insert(static_cast<Fault>(i));
    if (still_fails(fewer)) best = std::move(fewer);
  }
  for (size_t clients = 1; clients < plan.clients; ++clients) {
    PlanLimits fewer = best;
    fewer.clients = clients;
    if (!still_fails(fewer)) continue;
    best = std::move(fewer);
    break;
  }
  // What breaks a promise breaks it at its last step; what gets stuck may need less of the trouble.
  if (outcome != Outcome::kLiveness && still_fails(best) && steps > 0) {
    PlanLimits fewer = best;
    fewer.steps = steps;
    if (still_fails(fewer)) best = std::move(fewer);
  }
  if (outcome == Outcome::kLiveness) {
    for (uint64_t fewer_steps = plan.steps / 2; fewer_steps > 10; fewer_steps /= 2) {
      PlanLimits fewer = best;
      fewer.steps = fewer_steps;
      if (!still_fails(fewer)) break;
      best = std::move(fewer);
    }
  }
  return best;
}

std::string ReplayArguments(uint64_t seed, const PlanLimits& limits) {
  std::string command = "--seed " + std::to_string(seed);
  if (limits.steps) command += " --steps " + std::to_string(*limits.steps);
  if (limits.clients) command += " --clients " + std::to_string(*limits.clients);
  for (const Fault fault : limits.without) {
    command += " --without " + std::string(FaultName(fault));
  }
  return command;
}

}  // namespace raftkv::sim
