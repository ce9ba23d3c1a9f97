#include "torture/options.h"

#include <cstdio>
#include <random>

#include <CLI/CLI.hpp>

#include "tools/ctl/client.h"

namespace raftkv::torture {
namespace {

constexpr int kExitCouldNotRun = 2;
constexpr int kClientsOfAKeyMax = 10;

std::string NamesOf(const std::set<Fault>& faults) {
  std::string names;
  for (const auto& [fault, name] : FaultNames()) {
    if (faults.contains(fault)) names += (names.empty() ? "" : ",") + name;
  }
  return names.empty() ? "none" : names;
}

// An error for people; empty when all is well.
std::string ReadFaults(const std::string& list, Options* options) {
  if (list == "none") return "";
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    const std::string word = list.substr(start, end - start);
    start = end + 1;
    bool known = word == "all";
    for (const auto& [fault, name] : FaultNames()) {
      if (word != "all" && word != name) continue;
      options->faults.insert(fault);
      if (word == name) options->named.insert(fault);
      known = true;
    }
    if (!known) return "--faults: there is no fault '" + word + "'";
  }
  return "";
}

std::string Check(const Options& options) {
  if (options.nodes % 2 == 0 || options.nodes < 1 || options.nodes > 9) {
    return "--nodes: an odd number up to 9";
  }
  if (options.seconds < 1) return "--seconds: at least 1";
  if (options.clients < 1 || options.rate < 1) return "--clients and --rate: at least 1";
  const int keys_min = (options.clients + kClientsOfAKeyMax - 1) / kClientsOfAKeyMax;
  if (options.keys < keys_min) {
    return "--keys: " + std::to_string(options.clients) + " clients want at least " +
           std::to_string(keys_min) + ", for ten of them a key is what the checker can do";
  }
  if (options.lying_disk && !options.faults.contains(Fault::kPower)) {
    return "--lying-disk: only a power cut shows the lie (--faults power)";
  }
  return "";
}

}  // namespace

const std::vector<std::pair<Fault, std::string>>& FaultNames() {
  static const std::vector<std::pair<Fault, std::string>> names = {
      {Fault::kKill, "kill"},   {Fault::kPause, "pause"}, {Fault::kCut, "cut"},
      {Fault::kDelay, "delay"}, {Fault::kPower, "power"}, {Fault::kClock, "clock"},
      {Fault::kDisk, "disk"}};
  return names;
}

std::string FaultName(Fault fault) {
  for (const auto& [known, name] : FaultNames()) {
    if (known == fault) return name;
  }
  return "?";
}

std::string ReplayCommand(const Options& options) {
  std::string command = "raftkv-torture --seed " + std::to_string(options.seed) + " --seconds " +
                        std::to_string(static_cast<int>(options.seconds)) + " --nodes " +
                        std::to_string(options.nodes) + " --clients " +
                        std::to_string(options.clients) + " --keys " +
                        std::to_string(options.keys) + " --rate " + std::to_string(options.rate) +
                        " --faults " + NamesOf(options.faults);
  if (options.lying_disk) command += " --lying-disk";
  return command;
}

ParsedOptions ParseOptions(int argc, char** argv) {
  ParsedOptions parsed;
  Options& o = parsed.options;
  CLI::App app(
      "raftkv-torture: runs a cluster of this machine under a random load, breaks it in every way "
      "it "
      "can, and has the checker say whether what the clients saw is linearizable. See "
      "docs/torture.md",
      "raftkv-torture");
  app.footer(
      "Exit codes: 0 proven; 1 something is wrong; 2 could not run; 3 not proven: the checker "
      "could "
      "not decide, a fault that was asked for never came, or took nothing back where it should, or "
      "the run was interrupted.");
  app.set_version_flag("--version", "raftkv-torture " RAFTKV_VERSION);
  std::string faults = "all";
  std::string endpoints;
  app.add_option("--seed", o.seed, "Chooses load and faults; default: a random one");
  app.add_option("--seconds", o.seconds, "How long to break things")->capture_default_str();
  app.add_option("--nodes", o.nodes, "Nodes to start")->capture_default_str();
  app.add_option("--clients", o.clients, "Clients, at most ten of which share keys")
      ->capture_default_str();
  app.add_option("--keys", o.keys, "Keys at a time, shared out among groups of ten clients")
      ->capture_default_str();
  app.add_option("--rate", o.rate, "Operations a second, of all clients together")
      ->capture_default_str();
  app.add_option("--faults", faults,
                 "all that this machine can do, none, or a list of kill, pause, cut, delay, power, "
                 "clock, disk")
      ->capture_default_str();
  app.add_option("--dir", o.directory,
                 "Where to keep data and logs; default: a temporary directory, which a pass leaves "
                 "without data");
  app.add_option("--history", o.history, "Where to write the history (docs/history-format.md)");
  app.add_option("--report", o.report,
                 "Where to write the report; .txt, .json and .html are added");
  app.add_option("--raftkvd", o.raftkvd, "The server; default: beside this program");
  app.add_option("--raftkvd-flag", o.raftkvd_flags, "A flag for every node, as --name=value");
  app.add_option("--endpoints", endpoints,
                 "A cluster that runs already, host:port,...: only the load, no faults");
  app.add_option("--check-time-s", o.check_seconds, "What the checker may take")
      ->capture_default_str();
  app.add_option("--check-memory-mb", o.check_megabytes, "What the checker may take")
      ->capture_default_str();
  app.add_flag("--lying-disk", o.lying_disk,
               "Syncs do nothing: to see the run fail when the power does");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error) == 0 ? 0 : kExitCouldNotRun;
    return parsed;
  }
  if (app.count("--seed") == 0) o.seed = std::random_device()() % 1'000'000;
  std::string problem;
  if (!endpoints.empty()) {
    const auto list = tools::ctl::ParseEndpoints(endpoints);
    if (list.ok()) {
      o.endpoints = *list;
    } else {
      problem = list.status().message();
    }
    if (app.count("--faults") == 0) faults = "none";
    if (faults != "none") problem = "--faults: none are made in a cluster that is there";
  }
  if (problem.empty()) problem = ReadFaults(faults, &o);
  if (problem.empty()) problem = Check(o);
  if (!problem.empty()) {
    std::fprintf(stderr, "raftkv-torture: %s\n", problem.c_str());
    parsed.exit_code = kExitCouldNotRun;
  }
  return parsed;
}

}  // namespace raftkv::torture
