// Which tables (SST files) a damaged database has, which it should have, and which are intact.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "tools/dump/scratch.h"
#include "tools/dump/sst_files.h"

namespace raftkv::tools::dump {

struct TableList {
  // Why the MANIFEST can't be relied on to name every table there is; empty: it can. Without it
  // nobody knows whether a table is missing.
  std::string unreliable;
  // Where only this speaks against the MANIFEST: it does not list a table that is whole. A crash
  // leaves one, between the table's last byte and its line in the MANIFEST, or between that of the
  // table which replaces it and its removal; or else the MANIFEST's end is lost. What is in such
  // tables tells (Extent).
  std::string unlisted;
  // That CURRENT was made anew, which loses nothing.
  std::string note;
  std::vector<SstFile> files;  // every block of each was read
  // RocksDB's sequence numbers in each listed file: first and last.
  std::map<std::string, std::pair<uint64_t, uint64_t>> sequences;

  // Whether it is, or may be, part of the database.
  bool Counts(const SstFile& file) const { return file.level.has_value() || !unreliable.empty(); }

  // From then on unlisted tables count.
  void DistrustManifest() { unreliable = std::move(unlisted); }
};

// Works in a copy in the scratch directory, with the tables linked. Each table is read in a child
// process of its own (CallInChild), so no database may be open here. kIoError when the directory
// can't be read.
StatusOr<TableList> ReadTableList(const std::string& db_path, const ScratchDirectory& scratch);

}  // namespace raftkv::tools::dump
