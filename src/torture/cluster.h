// The nodes: raftkvd processes of this machine, whose peers call each other through a Network.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/rng.h"
#include "common/status.h"
#include "torture/network.h"
#include "torture/options.h"
#include "torture/process.h"
#include "torture/undo_log.h"

namespace raftkv::torture {

struct Node {
  std::string name;
  std::string directory;  // of its own; its data is in "data" there
  std::string endpoint;   // host:port for clients
  int client_port = 0;
  int peer_port = 0;     // where it listens
  int proxied_port = 0;  // where the others call it
  int http_port = 0;
  bool paused = false;
  Process process;
  std::atomic<int64_t>* clock_offset = nullptr;  // shared with the shim; null: no shim
  bool small_disk = false;                       // a tmpfs of its own
};

// Not thread-safe; every call from the thread that made it, since nodes die with that thread.
class Cluster {
 public:
  // Makes the directories, and starts nothing. `shim` is the library's path, or empty.
  static StatusOr<std::unique_ptr<Cluster>> Make(const Options& options,
                                                 const std::string& directory,
                                                 const std::string& shim);
  ~Cluster();

  int size() const { return static_cast<int>(nodes_.size()); }
  Node& node(int i) { return *nodes_[i]; }
  Network& network() { return network_; }
  std::vector<std::string> Endpoints() const;
  bool has_shim() const { return !shim_.empty(); }
  // The node whose disk can be filled, or -1 where no small disk could be mounted.
  int small_disk() const;

  Status Start(int i);
  void Kill(int i);
  void Pause(int i);
  void Resume(int i);
  // Kills it, and takes back what it had not synced.
  StatusOr<PowerCut> CutPower(int i, Rng* rng);
  void SetClock(int i, std::chrono::nanoseconds offset);
  Status FillDisk(int i);
  void EmptyDisk(int i);

  // All links are open, all disks have room, all that were stopped go on, all that are down start.
  Status Heal();
  // kInternal-like, with the end of its log, when a node ended that nobody killed.
  Status CheckRunning();
  // The end of a node's log.
  std::string LogTail(int i) const;
  // Ends all nodes by SIGTERM; an error when one does not end well.
  Status Stop();

 private:
  explicit Cluster(const Options& options, std::string shim);
  // Which node has the connection between these ports. On the network's thread.
  std::optional<int> CallerAt(int from_port, int to_port) const;
  Status MakeNode(int i, const std::string& directory);
  Status MakeClock(Node* node);
  std::string LogPath(int i) const { return nodes_[i]->directory + ".log"; }
  std::vector<std::string> Command(int i) const;

  const Options options_;
  const std::string shim_;
  std::vector<std::unique_ptr<Node>> nodes_;  // as many as there will be before any starts
  Network network_;                           // its thread looks at them
};

}  // namespace raftkv::torture
