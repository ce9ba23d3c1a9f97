// What the tools that make a node's directory have in common: snapshot restore, replay, salvage.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/status.h"
#include "common/types.h"
#include "store/restore.h"

namespace CLI {
class App;
}

namespace raftkv::tools {

// What a node of the new cluster is to be: raftkvd's flags of these names.
struct NewClusterFlags {
  std::string name = "default";
  std::string initial_cluster;  // empty: this node alone
  std::string initial_cluster_token = "raftkv-cluster";
  std::string initial_advertise_peer_urls = "http://127.0.0.1:2380";
  int64_t bump_revision = store::kRevisionBump;
  bool mark_compacted = true;
};

// Adds --name, --initial-cluster, --initial-cluster-token and --initial-advertise-peer-urls.
void AddNewClusterOptions(CLI::App* command, NewClusterFlags* flags);

// Everything of the new node in `data_dir` but its data. kInvalidArgument when the flags
// contradict each other.
StatusOr<store::RestoreOptions> NewClusterOptions(const NewClusterFlags& flags,
                                                  const std::string& data_dir);

// A node of the old cluster must not take one of the new for its own: they have different logs.
// kFailedPrecondition when the two have the same id. `what` is what the data was taken from.
Status CheckNewCluster(ClusterId old_cluster, ClusterId new_cluster, const std::string& what);

// kAlreadyExists unless `data_dir` does not exist or is empty.
Status CheckNewDirectory(const std::string& data_dir);
// Makes `data_dir`, has `build` make the database in it, and makes the directory durable.
Status MakeNewDirectory(const std::string& data_dir, const std::function<Status()>& build);

// What to do with the directory that was made.
std::string HowToStart(const NewClusterFlags& flags, const std::string& data_dir);

}  // namespace raftkv::tools
