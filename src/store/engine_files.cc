#include "store/engine_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <string_view>

#include <rocksdb/file_system.h>

#include "common/mutation.h"
#include "store/engine.h"

namespace raftkv::store {
namespace {

rocksdb::FileSystem& FileSystemOf(rocksdb::Env* env) {
  return *(env != nullptr ? env : rocksdb::Env::Default())->GetFileSystem();
}

Status SyncFile(const std::string& path, rocksdb::FileSystem* fs) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::FileOptions options;
  options.use_mmap_writes = false;
  rocksdb::IOStatus status = fs->ReopenWritableFile(path, options, &file, nullptr);
  if (!status.ok()) return FromRocksDb(status, "cannot open " + path + " to sync it");
  status = file->Fsync(rocksdb::IOOptions(), nullptr);
  const rocksdb::IOStatus closed = file->Close(rocksdb::IOOptions(), nullptr);
  return FromRocksDb(status.ok() ? closed : status, "cannot sync " + path);
}

// Without "." and "..".
StatusOr<std::vector<std::string>> List(const std::string& path, rocksdb::FileSystem* fs) {
  std::vector<std::string> names;
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(fs->GetChildren(path, rocksdb::IOOptions(), &names, nullptr),
                                     "cannot list " + path));
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  return names;
}

StatusOr<bool> IsDirectory(const std::string& path, rocksdb::FileSystem* fs) {
  bool is_directory = false;
  RAFTKV_RETURN_IF_ERROR(
      FromRocksDb(fs->IsDirectory(path, rocksdb::IOOptions(), &is_directory, nullptr),
                  "cannot tell what " + path + " is"));
  return is_directory;
}

Status RemoveDirectory(const std::string& path, rocksdb::FileSystem* fs) {
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> names, List(path, fs));
  for (const std::string& name : names) {
    const std::string entry = path + "/" + name;
    RAFTKV_ASSIGN_OR_RETURN(const bool is_directory, IsDirectory(entry, fs));
    RAFTKV_RETURN_IF_ERROR(is_directory
                               ? RemoveDirectory(entry, fs)
                               : FromRocksDb(fs->DeleteFile(entry, rocksdb::IOOptions(), nullptr),
                                             "cannot remove " + entry));
  }
  return FromRocksDb(fs->DeleteDir(path, rocksdb::IOOptions(), nullptr), "cannot remove " + path);
}

}  // namespace

Status SyncDirectory(const std::string& path, rocksdb::Env* env) {
  if (Mutated(Mutation::kNoDirectorySync)) return Status::Ok();
  std::unique_ptr<rocksdb::FSDirectory> directory;
  rocksdb::IOStatus status =
      FileSystemOf(env).NewDirectory(path, rocksdb::IOOptions(), &directory, nullptr);
  if (!status.ok()) return FromRocksDb(status, "cannot open " + path + " to sync it");
  return FromRocksDb(directory->Fsync(rocksdb::IOOptions(), nullptr), "cannot sync " + path);
}

Status SyncTree(const std::string& path, rocksdb::Env* env) {
  rocksdb::FileSystem& fs = FileSystemOf(env);
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> names, List(path, &fs));
  for (const std::string& name : names) {
    const std::string entry = path + "/" + name;
    RAFTKV_ASSIGN_OR_RETURN(const bool is_directory, IsDirectory(entry, &fs));
    RAFTKV_RETURN_IF_ERROR(is_directory ? SyncTree(entry, env) : SyncFile(entry, &fs));
  }
  return SyncDirectory(path, env);
}

Status RemoveTree(const std::string& path, rocksdb::Env* env) {
  rocksdb::FileSystem& fs = FileSystemOf(env);
  const rocksdb::IOStatus exists = fs.FileExists(path, rocksdb::IOOptions(), nullptr);
  if (exists.IsNotFound()) return Status::Ok();
  RAFTKV_ASSIGN_OR_RETURN(const bool is_directory, IsDirectory(path, &fs));
  if (is_directory) return RemoveDirectory(path, &fs);
  return FromRocksDb(fs.DeleteFile(path, rocksdb::IOOptions(), nullptr), "cannot remove " + path);
}

Status EmptyFile(const std::string& path, rocksdb::Env* env) {
  rocksdb::FileSystem& fs = FileSystemOf(env);
  const rocksdb::IOStatus exists = fs.FileExists(path, rocksdb::IOOptions(), nullptr);
  if (exists.IsNotFound()) return Status::Ok();
  // Opening it anew is how RocksDB's file systems cut a file; the POSIX one has no Truncate.
  rocksdb::FileOptions options;
  options.use_mmap_writes = false;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::IOStatus status = fs.NewWritableFile(path, options, &file, nullptr);
  if (!status.ok()) return FromRocksDb(status, "cannot empty " + path);
  status = file->Fsync(rocksdb::IOOptions(), nullptr);
  const rocksdb::IOStatus closed = file->Close(rocksdb::IOOptions(), nullptr);
  return FromRocksDb(status.ok() ? closed : status, "cannot sync " + path);
}

Status RenameNew(const std::string& from, const std::string& to, rocksdb::Env* env) {
  rocksdb::FileSystem& fs = FileSystemOf(env);
  // A rename would replace an empty directory without a word.
  const rocksdb::IOStatus exists = fs.FileExists(to, rocksdb::IOOptions(), nullptr);
  if (exists.ok()) return Status(Code::kAlreadyExists, to + " exists");
  if (!exists.IsNotFound()) return FromRocksDb(exists, "cannot tell whether there is " + to);
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(fs.RenameFile(from, to, rocksdb::IOOptions(), nullptr),
                                     "cannot rename " + from + " to " + to));
  const std::filesystem::path parent = std::filesystem::path(to).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string(), env);
}

uint64_t WalNumber(const std::string& name) {
  constexpr std::string_view kSuffix = ".log";
  if (!name.ends_with(kSuffix)) return 0;
  const char* const end = name.data() + name.size() - kSuffix.size();
  uint64_t number = 0;
  const auto [parsed_to, error] = std::from_chars(name.data(), end, number);
  return error == std::errc() && parsed_to == end ? number : 0;
}

StatusOr<std::vector<WalFile>> WalFiles(const std::string& db_path, rocksdb::Env* env) {
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> names, List(db_path, &FileSystemOf(env)));
  std::vector<WalFile> files;
  for (const std::string& name : names) {
    const uint64_t number = WalNumber(name);
    if (number != 0) files.push_back({number, db_path + "/" + name});
  }
  std::sort(files.begin(), files.end(),
            [](const WalFile& a, const WalFile& b) { return a.number < b.number; });
  return files;
}

}  // namespace raftkv::store
