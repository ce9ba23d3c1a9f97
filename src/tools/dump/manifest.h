// RocksDB's MANIFEST: which column families and tables make up the database, whatever state its WAL
// is in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"

namespace raftkv::tools::dump {

// A table as the MANIFEST lists it.
struct ListedTable {
  std::string name;  // 000012.sst
  std::string family;
  int level = 0;
  uint64_t bytes = 0;
  std::string smallest;  // keys
  std::string largest;
  uint64_t smallest_sequence = 0;
  uint64_t largest_sequence = 0;
};

struct Manifest {
  std::map<uint32_t, std::string> families;  // by the id that the WAL knows them by
  std::vector<ListedTable> tables;           // by family, level and smallest key
};

// Reads it in a child process (CallInChild), without looking at any WAL file or, but for opening
// some, at the tables. kCorruption, with the reason, when it is damaged or missing; kNotFound when
// there is no such directory.
StatusOr<Manifest> ReadManifest(const std::string& db_path);

// The families of a database whose MANIFEST can't be read, as a node's first start numbers them. A
// guess, good for showing what is in a WAL file.
std::map<uint32_t, std::string> UsualFamilies();

}  // namespace raftkv::tools::dump
