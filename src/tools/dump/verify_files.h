// verify's part on what is read before RocksDB reads anything: the data directory's own files,
// CURRENT, the MANIFEST, and the WAL files.
#pragma once

#include <optional>
#include <string>

#include "tools/dump/findings.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools::dump {

struct FilesVerified {
  // The database may be opened: what RocksDB then shows is what was there, up to where the WAL is
  // damaged if it is.
  bool may_open = false;
  bool wal_is_whole = true;  // but for a torn tail
  store::WalRecovery recovery = store::WalRecovery::kClean;
};

// `path` is the node's --data-dir and holds db. Uses what a start uses to check the MANIFEST and
// the WAL. Aborts on nothing.
FilesVerified VerifyFiles(const std::string& path, Findings* findings);

}  // namespace raftkv::tools::dump
