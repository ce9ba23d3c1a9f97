// Where commands work that need a database to write to: the original stays as it is.
#pragma once

#include <memory>
#include <string>

#include "common/status.h"

namespace raftkv::tools::dump {

// A temporary directory, removed with all that is in it when this goes away.
class ScratchDirectory {
 public:
  // Makes a fresh one in `parent`; empty: $TMPDIR, or /tmp.
  static StatusOr<std::unique_ptr<ScratchDirectory>> Make(const std::string& parent);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// kIoError when it can't be made or is there.
Status MakeDirectory(const std::string& path);

// A table that is hard-linked where that is possible, any other file as a copy.
Status CopyFile(const std::string& from, const std::string& to);

// Copies the database in `db_path` to `copy_path`, which must not exist. SST files never change
// once written, so they are hard-linked where both are on one file system; everything else, which
// an open may append to or cut, is copied.
Status CopyDatabase(const std::string& db_path, const std::string& copy_path);

}  // namespace raftkv::tools::dump
