// A stopped node's data directory, opened without changing a byte of it.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "store/engine.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools::dump {

// Not thread-safe.
class NodeDirectory {
 public:
  // `path` is the node's --data-dir. Scans the WAL files before RocksDB sees them. kCorruption is a
  // finding; any other error says why nothing could be found out: kNotFound (no such directory, or
  // not a node's), kFailedPrecondition (a node is running in it, or its format is newer).
  static StatusOr<std::unique_ptr<NodeDirectory>> Open(const std::string& path);

  // kFailedPrecondition when a node runs in it. Looking takes no lock, so that it can't make a
  // start fail; ask again at the end, to know that none has started in the meantime.
  Status CheckNotRunning() const { return CheckNotRunning(path_); }

  const std::string& path() const { return path_; }
  std::string db_path() const { return path_ + "/db"; }
  const wal::WalScan& scan() const { return scan_; }
  store::Engine* engine() const { return engine_.get(); }

 private:
  NodeDirectory() = default;
  static Status CheckNotRunning(const std::string& path);

  std::string path_;
  wal::WalScan scan_;
  std::unique_ptr<store::Engine> engine_;
};

}  // namespace raftkv::tools::dump
