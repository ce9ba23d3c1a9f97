// Backups: saving one from a running node, looking at the file, and making directories out of it.
// Every function prints and returns the exit code (commands.h).
#pragma once

#include <string>

#include "tools/ctl/client.h"
#include "tools/ctl/commands.h"
#include "tools/support/new_cluster.h"

namespace raftkv::tools::ctl {

// Streams a snapshot from the first endpoint that gives one into `path`, which is replaced in one
// step, and only by a snapshot that was checked as a whole and is on disk.
int RunSnapshotSave(Client* client, const Output& output, const std::string& path);

// Checks all of the file, and says what is in it.
int RunSnapshotStatus(const Output& output, const std::string& path);

struct RestoreFlags : NewClusterFlags {
  std::string path;
  std::string data_dir;  // empty: <name>.raftkv
};

// Makes the data directory of one node of a new cluster; every node restores the same file.
int RunSnapshotRestore(const Output& output, const RestoreFlags& flags);

}  // namespace raftkv::tools::ctl
