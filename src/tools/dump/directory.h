// A node's data directory, opened without changing a byte of it.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "store/engine.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools::dump {

// In a data directory, beside the database: src/server/marker_file.h.
inline constexpr char kMemberMarker[] = "member";
inline constexpr char kRemovedMarker[] = "removed";

// Not thread-safe.
class NodeDirectory {
 public:
  // `path` is the node's --data-dir. Scans the WAL files before RocksDB sees them. kCorruption is a
  // finding; any other error says why nothing could be found out: kNotFound (no such directory, or
  // not a node's), kFailedPrecondition (a node is running in it, or its format is newer).
  static StatusOr<std::unique_ptr<NodeDirectory>> Open(const std::string& path);

  // The same while a node runs in it (or not): a secondary instance of RocksDB, which keeps its own
  // info log in `scratch`, a directory. It sees the log and raft_meta as of the opening, and of the
  // applied state what had been flushed, which may be minutes old. There is no scan().
  static StatusOr<std::unique_ptr<NodeDirectory>> OpenLive(const std::string& path,
                                                           const std::string& scratch);

  // For commands that go on where a directory can't be opened as a whole: whether it is a node's at
  // all and no node runs in it. kNotFound and kFailedPrecondition as for Open.
  static Status CheckStopped(const std::string& path);

  // kFailedPrecondition when a node runs in it. Looking takes no lock, so that it can't make a
  // start fail; ask again at the end, to know that none has started in the meantime.
  Status CheckNotRunning() const { return CheckNotRunning(path_); }
  static Status CheckNotRunning(const std::string& path);

  const std::string& path() const { return path_; }
  std::string db_path() const { return path_ + "/db"; }
  bool live() const { return live_; }
  const wal::WalScan& scan() const { return scan_; }
  store::Engine* engine() const { return engine_.get(); }

 private:
  NodeDirectory() = default;

  std::string path_;
  bool live_ = false;
  wal::WalScan scan_;
  std::unique_ptr<store::Engine> engine_;
};

}  // namespace raftkv::tools::dump
