// What the engine does to directories itself, outside RocksDB. Through the file system of RocksDB's
// `env` (null: the default), so that a simulated disk serves these too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rocksdb/env.h>

#include "common/status.h"

namespace raftkv::store {

// Makes a directory's entries durable.
Status SyncDirectory(const std::string& path, rocksdb::Env* env = nullptr);

// Makes every file in a directory durable, then its entries. Directories inside it too.
Status SyncTree(const std::string& path, rocksdb::Env* env = nullptr);

// Removes a directory and all in it; fine when there is none.
Status RemoveTree(const std::string& path, rocksdb::Env* env = nullptr);

// Cuts a file to no bytes, durably. It is fine when it is gone.
Status EmptyFile(const std::string& path, rocksdb::Env* env = nullptr);

// Renames durably. kAlreadyExists, and nothing happens, when `to` exists, even as an empty
// directory. Nobody else may make `to` meanwhile: the caller holds the directory's lock.
Status RenameNew(const std::string& from, const std::string& to, rocksdb::Env* env = nullptr);

// A WAL file: `number` is what RocksDB numbers it by (000012.log is 12).
struct WalFile {
  uint64_t number = 0;
  std::string path;
};

// The WAL files in a database directory, oldest first.
StatusOr<std::vector<WalFile>> WalFiles(const std::string& db_path, rocksdb::Env* env = nullptr);

// The number of the WAL file called `name`, or 0 when that is no WAL file's name.
uint64_t WalNumber(const std::string& name);

}  // namespace raftkv::store
