#include "store/snapshot_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/coding.h"
#include "store/sha256.h"
#include "store/snapshot_check.h"

namespace raftkv::store {
namespace {

constexpr std::string_view kMagic = "RAFTKVSN";
constexpr uint64_t kAlignment = 512;

uint64_t PaddingAt(uint64_t offset) { return (kAlignment - offset % kAlignment) % kAlignment; }

// Reads a file from its start, and digests what it read.
class Reader {
 public:
  Reader(const std::string& path, uint64_t size)
      : path_(path), size_(size), in_(path, std::ios::binary) {}

  Status Read(uint64_t bytes, std::string* out) {
    if (bytes > size_ - offset_) return Damaged("it ends too early");
    out->resize(bytes);
    if (!in_.read(out->data(), static_cast<std::streamsize>(bytes))) {
      return {Code::kIoError, "reading " + path_ + " at offset " + std::to_string(offset_)};
    }
    offset_ += bytes;
    digest_.Update(*out);
    return Status::Ok();
  }

  StatusOr<uint32_t> ReadLength() {
    std::string bytes;
    RAFTKV_RETURN_IF_ERROR(Read(4, &bytes));
    std::string_view in = bytes;
    uint32_t length = 0;
    ConsumeLittleEndian32(&in, &length);
    return length;
  }

  Status Damaged(const std::string& what) const { return DamagedAt(offset_, what); }
  Status DamagedAt(uint64_t offset, const std::string& what) const {
    return {Code::kCorruption, "the snapshot file " + path_ + " is damaged at offset " +
                                   std::to_string(offset) + ": " + what};
  }
  bool is_open() const { return in_.is_open(); }
  uint64_t offset() const { return offset_; }
  std::string Digest() const { return digest_.Digest(); }

 private:
  const std::string path_;
  const uint64_t size_;
  std::ifstream in_;
  uint64_t offset_ = 0;
  Sha256 digest_;
};

// From behind the last chunk to the end.
Status ReadEnd(Reader* reader, uint64_t size, std::string* digest) {
  std::string bytes;
  RAFTKV_RETURN_IF_ERROR(reader->Read(PaddingAt(reader->offset()), &bytes));
  if (bytes.find_first_not_of('\0') != std::string::npos) {
    return reader->Damaged("there is something between its last chunk and its digest");
  }
  *digest = reader->Digest();
  RAFTKV_RETURN_IF_ERROR(reader->Read(kSha256Bytes, &bytes));
  if (bytes != *digest) return reader->Damaged("its contents do not have the digest at its end");
  if (reader->offset() != size) return reader->Damaged("there is something behind its digest");
  return Status::Ok();
}

}  // namespace

Status WriteSnapshotFile(SnapshotSource* source,
                         const std::function<Status(std::string_view)>& write) {
  Sha256 digest;
  uint64_t offset = 0;
  const auto put = [&](std::string_view bytes) {
    digest.Update(bytes);
    offset += bytes.size();
    return write(bytes);
  };
  RAFTKV_RETURN_IF_ERROR(put(kMagic));
  std::string chunk;
  for (;;) {
    RAFTKV_ASSIGN_OR_RETURN(const bool more, source->Next(&chunk));
    if (!more) break;
    std::string length;
    AppendLittleEndian32(&length, static_cast<uint32_t>(chunk.size()));
    RAFTKV_RETURN_IF_ERROR(put(length));
    RAFTKV_RETURN_IF_ERROR(put(chunk));
  }
  std::string end;
  AppendLittleEndian32(&end, 0);
  end.append(PaddingAt(offset + end.size()), '\0');
  RAFTKV_RETURN_IF_ERROR(put(end));
  return write(digest.Digest());
}

StatusOr<SnapshotFileInfo> ReadSnapshotFile(const std::string& path, SnapshotSink* sink) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return Status(Code::kIoError, "opening " + path + ": " + error.message());
  Reader reader(path, size);
  if (!reader.is_open()) return Status(Code::kIoError, "opening " + path + " failed");
  std::string bytes;
  RAFTKV_RETURN_IF_ERROR(reader.Read(std::min<uint64_t>(kMagic.size(), size), &bytes));
  if (bytes != kMagic) return reader.DamagedAt(0, "it does not start as a snapshot of raftkv does");
  SnapshotCheck check(std::nullopt);
  for (;;) {
    const uint64_t at = reader.offset();
    RAFTKV_ASSIGN_OR_RETURN(const uint32_t length, reader.ReadLength());
    if (length == 0) break;
    if (length > kSnapshotChunkBytesMax) return reader.DamagedAt(at, "a chunk is too large");
    RAFTKV_RETURN_IF_ERROR(reader.Read(length, &bytes));
    if (const Status status = check.Add(bytes, nullptr); !status.ok()) {
      if (status.code() == Code::kFailedPrecondition) return status;
      return reader.DamagedAt(at, status.message());
    }
    if (sink != nullptr) RAFTKV_RETURN_IF_ERROR(sink->Add(bytes));
  }
  if (const Status status = check.Finish(); !status.ok()) return reader.Damaged(status.message());
  SnapshotFileInfo info;
  RAFTKV_RETURN_IF_ERROR(ReadEnd(&reader, size, &info.digest));
  info.header = check.header();
  info.records = check.records();
  info.keys = check.keys();
  info.bytes = size;
  return info;
}

}  // namespace raftkv::store
