// What the engine does to directories itself, outside RocksDB.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace raftkv::store {

// Makes a directory's entries durable.
Status SyncDirectory(const std::string& path);

// Makes every file in a directory durable, then its entries. Directories inside it too.
Status SyncTree(const std::string& path);

// Removes a directory and all in it; fine when there is none.
Status RemoveTree(const std::string& path);

// Cuts a file to no bytes, durably. It is fine when it is gone.
Status EmptyFile(const std::string& path);

// Renames durably. kAlreadyExists, and nothing happens, when `to` exists, even as an empty
// directory.
Status RenameNew(const std::string& from, const std::string& to);

// A WAL file: `number` is what RocksDB numbers it by (000012.log is 12).
struct WalFile {
  uint64_t number = 0;
  std::string path;
};

// The WAL files in a database directory, oldest first.
StatusOr<std::vector<WalFile>> WalFiles(const std::string& db_path);

// The number of the WAL file called `name`, or 0 when that is no WAL file's name.
uint64_t WalNumber(const std::string& name);

}  // namespace raftkv::store
