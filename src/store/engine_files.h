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

// Renames durably. kAlreadyExists, and nothing happens, when `to` exists, even as an empty
// directory.
Status RenameNew(const std::string& from, const std::string& to);

// Numbers of the WAL files (000012.log is 12) in a database directory, ascending.
StatusOr<std::vector<uint64_t>> WalNumbers(const std::string& db_path);

// The WAL file's number if `name` is a WAL file's name, else 0.
uint64_t WalNumber(const std::string& name);

}  // namespace raftkv::store
