// Who uses a data directory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"

namespace raftkv::store {

// Held by a running node from before it looks into its data directory until after its database is
// closed: <data-dir>/raftkv.lock. RocksDB's own LOCK file covers the database alone, and only while
// it is open.
//
// An open-file-description lock (fcntl F_OFD_SETLK): the kernel drops it when the process dies
// however it dies, it also keeps out a second holder in the same process, and, other than flock,
// it can be asked about without being taken, so that a tool's look never makes a start fail.
class DirectoryLock {
 public:
  // `data_dir` must exist. kFailedPrecondition, naming the process that holds it, when it is taken;
  // kIoError when the lock file can't be made.
  static StatusOr<std::unique_ptr<DirectoryLock>> Acquire(const std::string& data_dir);

  // The process that holds the lock: nothing when nobody does or there is no lock file, 0 when its
  // id can't be read. Changes nothing.
  static StatusOr<std::optional<int64_t>> Holder(const std::string& data_dir);

  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace raftkv::store
