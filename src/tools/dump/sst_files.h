// The tables (SST files) in a node's database, as far as they can be read.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "common/status.h"

namespace raftkv::tools::dump {

struct NumberRange {
  uint64_t first = 0;
  uint64_t last = 0;
};

struct SstFile {
  std::string name;  // 000012.sst
  std::string path;
  uint64_t bytes = 0;  // of the file; 0 when it is missing
  std::string family;  // "" when neither MANIFEST nor file say
  // From the MANIFEST; none when it can't be read, or does not list the file: a file that is no
  // longer, or not yet, part of the database.
  std::optional<int> level;
  uint64_t listed_bytes = 0;
  // From the file itself, where `status` is OK.
  uint64_t entries = 0;  // deletions included
  uint64_t deletions = 0;
  uint64_t range_deletions = 0;
  std::string
      smallest;  // keys, of what is not deleted in the file; from the MANIFEST if it lists it
  std::string largest;
  std::optional<NumberRange> indexes;    // in raft_log: of the Raft log
  std::optional<NumberRange> revisions;  // in kv: of the revision index's records, if it holds any
  // Whether it can be read, and precisely why not: kCorruption, kNotFound for a listed file that is
  // not there.
  Status status;
};

struct SstFileOptions {
  bool verify = false;  // also read every block and check its checksum
};

// What there is to list, before the files are read.
struct SstListing {
  Status manifest;             // not OK: why it can't be read; `listed` is then false
  bool listed = false;         // family and level are the MANIFEST's
  std::vector<SstFile> files;  // by family, level and smallest key; unlisted ones last, by name
};

// The files that the MANIFEST lists, and those that are there without being listed. kIoError when
// the directory can't be listed, kNotFound when there is none.
StatusOr<SstListing> ListSstFiles(const std::string& db_path);

// Reads one file into `file`, in a child process: what it does to RocksDB is in `status`. A table
// in which there is damage may still have everything else filled in.
void ExamineSstFile(const SstFileOptions& options, SstFile* file);

}  // namespace raftkv::tools::dump
