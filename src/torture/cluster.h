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
  // For a node with a tmpfs of its own: whether it is full now, or until when what a write met may
  // yet end the node; and where in its log to look for that: behind the start and the filling.
  bool small_disk = false;
  bool full = false;
  std::chrono::steady_clock::time_point full_until;
  size_t log_bytes_before = 0;
  int lives = 0;  // how often it was started
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
  // Clocks stay as they are between two faults, as nobody may come and set them.
  Status Mend();
  // And all clocks are right.
  Status Heal();
  // An error, with the end of its log, when a node ended that nobody killed. Not when a full disk
  // ended it as docs/operations.md says: it starts again as soon as there is room.
  Status CheckRunning();
  // How often that was.
  int ended_by_full_disk() const { return ended_by_full_disk_; }
  // The end of a node's log.
  std::string LogTail(int i) const;
  // Ends all nodes by SIGTERM; an error when one does not end well.
  Status Stop();

 private:
  explicit Cluster(const Options& options, std::string shim);
  // Which node has the connection between these ports. On the network's thread.
  std::optional<int> CallerAt(int from_port, int to_port) const;
  // Whether a full disk ended the node, and it said so.
  bool FullDiskEnded(int i, int status) const;
  Status MakeNode(int i, const std::string& directory);
  Status PrepareDirectory(int i);
  Status MakeClock(Node* node);
  std::string LogPath(int i) const { return nodes_[i]->directory + ".log"; }
  size_t LogBytes(int i) const;
  std::string UndoPath(int i) const { return nodes_[i]->directory + ".undo"; }
  std::vector<std::string> Command(int i) const;

  const Options options_;
  const std::string shim_;
  int ended_by_full_disk_ = 0;
  std::vector<std::unique_ptr<Node>> nodes_;  // as many as there will be before any starts
  Network network_;                           // its thread looks at them
};

}  // namespace raftkv::torture
