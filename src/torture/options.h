// What raftkv-torture is asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace raftkv::torture {

enum class Fault {
  kKill,   // SIGKILL: one node, a majority, all
  kPause,  // SIGSTOP, later SIGCONT
  kCut,    // links between nodes: a node alone, one direction, connections reset
  kDelay,  // links between nodes are slow
  kPower,  // SIGKILL, and what was not synced is lost: one node, a majority, all
  kClock,  // a node's wall clock jumps
  kDisk,   // a node's disk is full
};

// In the order of --help.
const std::vector<std::pair<Fault, std::string>>& FaultNames();
std::string FaultName(Fault fault);

struct Options {
  uint64_t seed = 0;
  double seconds = 600;
  int nodes = 3;
  int clients = 20;
  int keys = 6;
  int rate = 500;  // operations a second of all clients together
  std::set<Fault> faults;
  std::set<Fault> named;  // of these, those that --faults names: all but "all" of them must be had
  std::string directory;  // empty: a temporary one, removed when all is well
  std::string history;    // empty: in the directory
  std::string report;   // without ending: .txt, .json and .html are added; empty: in the directory
  std::string raftkvd;  // empty: beside this program
  std::vector<std::string> raftkvd_flags;
  std::vector<std::string> endpoints;  // of a cluster that is there; then there are no faults
  double check_seconds = 600;
  uint64_t check_megabytes = 4096;
  // Syncs do nothing, so that a power cut takes acknowledged writes: the run must fail.
  bool lying_disk = false;
};

// What the command line says, or how the program is to end at once.
struct ParsedOptions {
  Options options;
  std::optional<int> exit_code;
};
ParsedOptions ParseOptions(int argc, char** argv);

// The command that does the same again.
std::string ReplayCommand(const Options& options);

}  // namespace raftkv::torture
