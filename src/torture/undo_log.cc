#include "torture/undo_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "common/coding.h"

namespace raftkv::torture {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSectorBytes = 512;

bool Consume(std::string_view* in, std::string* out) {
  std::string_view bytes;
  if (!ConsumeLengthPrefixed(in, &bytes)) return false;
  *out = bytes;
  return true;
}

bool Decode(std::string_view in, UndoRecord* record) {
  uint8_t kind = 0;
  if (!ConsumeByte(&in, &kind) || !ConsumeVarint(&in, &record->sequence) ||
      !ConsumeVarint(&in, &record->inode) || !ConsumeVarint(&in, &record->offset) ||
      !ConsumeVarint(&in, &record->size) || !Consume(&in, &record->path) ||
      !Consume(&in, &record->other) || !Consume(&in, &record->saved)) {
    return false;
  }
  record->kind = static_cast<UndoKind>(kind);
  record->bytes = in;
  return true;
}

Status Failed(const std::string& what, const std::string& path) {
  return {Code::kIoError, "power cut: can't " + what + " " + path + ": " + std::strerror(errno)};
}

Status PutBack(const UndoRecord& record, const std::string& path, uint64_t size) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return Failed("open", path);
  const std::string& bytes = record.bytes;
  Status status;
  if (pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(record.offset)) !=
          static_cast<ssize_t>(bytes.size()) ||
      ftruncate(fd, static_cast<off_t>(size)) != 0) {
    status = Failed("put back", path);
  }
  close(fd);
  return status;
}

Status UndoName(const UndoRecord& record) {
  std::error_code error;
  switch (record.kind) {
    case UndoKind::kCreate:
    case UndoKind::kMkdir:
      fs::remove_all(record.path, error);
      break;
    case UndoKind::kRename:
      // The log is written first: the change itself may not have happened.
      if (fs::exists(record.path) && !fs::exists(record.other)) {
        fs::rename(record.path, record.other, error);
      }
      [[fallthrough]];
    case UndoKind::kUnlink:
      if (!record.saved.empty() && !error) fs::rename(record.saved, record.path, error);
      break;
    case UndoKind::kRmdir:
      fs::create_directory(record.path, error);
      break;
    default:
      break;
  }
  if (!error) return Status::Ok();
  return {Code::kIoError,
          "power cut: can't take back a change of " + record.path + ": " + error.message()};
}

// How many of `count` changes stay: none in half of the cases, else any number.
size_t Kept(size_t count, Rng* rng) { return rng->Percent(50) ? 0 : rng->Below(count + 1); }

Status UndoBytes(const std::vector<const UndoRecord*>& records, const std::string& path, Rng* rng,
                 PowerCut* cut) {
  const size_t kept = Kept(records.size(), rng);
  cut->kept += kept;
  if (kept == records.size()) return Status::Ok();
  cut->changes += records.size() - kept;
  ++cut->files;
  for (size_t i = records.size(); i-- > kept;) {
    const UndoRecord& record = *records[i];
    uint64_t size = record.size;
    struct stat now {};
    // The first one that is lost may have reached the disk in part.
    if (i == kept && record.bytes.empty() && stat(path.c_str(), &now) == 0 &&
        static_cast<uint64_t>(now.st_size) > size && rng->Percent(50)) {
      const uint64_t grown = static_cast<uint64_t>(now.st_size) - size;
      size += std::min(grown, rng->Below(grown / kSectorBytes + 1) * kSectorBytes);
    }
    RAFTKV_RETURN_IF_ERROR(PutBack(record, path, size));
  }
  return Status::Ok();
}

std::map<uint64_t, std::string> FilesBelow(const std::string& directory) {
  std::map<uint64_t, std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    struct stat info {};
    if (stat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      files[info.st_ino] = it->path();
    }
  }
  return files;
}

}  // namespace

std::string EncodeUndo(const UndoRecord& record) {
  std::string body(1, static_cast<char>(record.kind));
  for (const uint64_t number : {record.sequence, record.inode, record.offset, record.size}) {
    AppendVarint(&body, number);
  }
  for (const std::string* text : {&record.path, &record.other, &record.saved}) {
    AppendLengthPrefixed(&body, *text);
  }
  std::string out;
  AppendVarint(&out, body.size() + record.bytes.size());
  return out + body + record.bytes;
}

StatusOr<std::vector<UndoRecord>> ReadUndoLog(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status(Code::kIoError, "can't open " + path);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<UndoRecord> records;
  std::string_view in = all;
  std::string_view body;
  while (ConsumeLengthPrefixed(&in, &body)) {
    UndoRecord record;
    if (!Decode(body, &record)) return Status(Code::kCorruption, path + " is malformed");
    if (record.kind == UndoKind::kSync) {
      std::erase_if(records, [&](const UndoRecord& done) {
        return done.inode == record.inode && done.sequence < record.sequence;
      });
    } else {
      records.push_back(std::move(record));
    }
  }
  return records;
}

StatusOr<PowerCut> CutPower(const std::string& log, const std::string& directory, Rng* rng) {
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<UndoRecord> records, ReadUndoLog(log));
  PowerCut cut;
  std::vector<const UndoRecord*> names;
  std::map<uint64_t, std::vector<const UndoRecord*>> by_file;
  for (const UndoRecord& record : records) {
    if (record.kind == UndoKind::kBytes) {
      by_file[record.inode].push_back(&record);
    } else {
      names.push_back(&record);
    }
  }
  const size_t kept = Kept(names.size(), rng);
  cut.kept += kept;
  cut.changes += names.size() - kept;
  for (size_t i = names.size(); i-- > kept;) RAFTKV_RETURN_IF_ERROR(UndoName(*names[i]));
  // Only now is it known which files there are, and what they are called.
  const std::map<uint64_t, std::string> files = FilesBelow(directory);
  for (const auto& [inode, changes] : by_file) {
    const auto file = files.find(inode);
    if (file == files.end()) continue;
    RAFTKV_RETURN_IF_ERROR(UndoBytes(changes, file->second, rng, &cut));
  }
  std::error_code error;
  for (const UndoRecord& record : records) {
    if (!record.saved.empty()) fs::remove(record.saved, error);
  }
  if (truncate(log.c_str(), 0) != 0) return Failed("empty", log);
  return cut;
}

}  // namespace raftkv::torture
