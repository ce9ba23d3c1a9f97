#include "wal/fence.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <utility>

#include "common/coding.h"
#include "common/sealed_record.h"
#include "store/engine.h"
#include "store/engine_files.h"

namespace raftkv::wal {
namespace {

// A record that says that entries are missing is of version 2, for one who does not know that must
// not start on it.
constexpr uint32_t kVersion = 1;
constexpr uint32_t kVersionMissing = 2;
// Two records, written in turn, so that one is whole whenever the other is being written; and the
// note, which may be torn at any time. A page each.
constexpr uint64_t kSlotBytes = 4096;
constexpr uint64_t kNoteOffset = 2 * kSlotBytes;
constexpr std::string_view kRecordKey = "fence";
constexpr std::string_view kNoteKey = "fence note";
constexpr size_t kRecordBytes = 4 + 10 * 8 + kSealBytes;
constexpr size_t kNoteBytes = 3 * 8 + kSealBytes;

Status Failed(const rocksdb::Status& status, const std::string& what, const std::string& path) {
  if (status.ok()) return Status::Ok();
  return {Code::kIoError, "can't " + what + " " + path + ": " + status.ToString()};
}

void AppendPosition(std::string* out, LogPosition position) {
  AppendLittleEndian64(out, position.term.value());
  AppendLittleEndian64(out, position.index.value());
}

bool ConsumePosition(std::string_view* in, LogPosition* position) {
  uint64_t term = 0;
  uint64_t index = 0;
  if (!ConsumeLittleEndian64(in, &term) || !ConsumeLittleEndian64(in, &index)) return false;
  *position = {Index(index), Term(term)};
  return true;
}

struct Slot {
  uint32_t version = 0;
  ClusterId cluster;
  NodeId node;
  uint64_t sequence = 0;
  FenceRecord record;
};

// Nothing when the slot was never written, or not to its end.
std::optional<Slot> DecodeSlot(std::string_view bytes) {
  std::optional<std::string_view> body = OpenSealed(kRecordKey, bytes);
  Slot slot;
  if (!body || !ConsumeLittleEndian32(&*body, &slot.version)) return std::nullopt;
  std::array<uint64_t, 6> fields{};
  for (uint64_t& field : fields) {
    if (!ConsumeLittleEndian64(&*body, &field)) return std::nullopt;
  }
  slot.cluster = ClusterId(fields[0]);
  slot.node = NodeId(fields[1]);
  slot.sequence = fields[2];
  slot.record.run = fields[3];
  slot.record.term = Term(fields[4]);
  slot.record.vote = NodeId(fields[5]);
  if (!ConsumePosition(&*body, &slot.record.acknowledged.at_least) ||
      !ConsumePosition(&*body, &slot.record.acknowledged.at_most)) {
    return std::nullopt;
  }
  slot.record.acknowledged.missing = slot.version == kVersionMissing;
  return slot;
}

// The file as a node that has promised nothing has it; beside, then renamed, so that there is never
// half of it.
Status Make(const std::string& path, const std::string& first_record, rocksdb::Env* env) {
  const std::string beside = path + ".new";
  rocksdb::EnvOptions options;
  options.use_mmap_writes = false;
  std::unique_ptr<rocksdb::WritableFile> file;
  RAFTKV_RETURN_IF_ERROR(Failed(env->NewWritableFile(beside, &file, options), "make", beside));
  std::string bytes = first_record;
  bytes.resize(kNoteOffset + kSlotBytes);
  RAFTKV_RETURN_IF_ERROR(Failed(file->Append(bytes), "write", beside));
  RAFTKV_RETURN_IF_ERROR(Failed(file->Fsync(), "sync", beside));
  RAFTKV_RETURN_IF_ERROR(Failed(file->Close(), "close", beside));
  RAFTKV_RETURN_IF_ERROR(Failed(env->RenameFile(beside, path), "rename", beside));
  return store::SyncDirectory(std::filesystem::path(path).parent_path(), env);
}

}  // namespace

Fence::Fence(std::string path, std::unique_ptr<rocksdb::RandomRWFile> file, ClusterId cluster,
             NodeId node)
    : path_(std::move(path)), file_(std::move(file)), cluster_(cluster), node_(node) {}

Fence::~Fence() = default;

StatusOr<std::unique_ptr<Fence>> Fence::Open(const std::string& path, ClusterId cluster,
                                             NodeId node, uint64_t now_us, LogPosition on_disk,
                                             rocksdb::Env* env) {
  if (env == nullptr) env = rocksdb::Env::Default();
  if (env->FileExists(path).IsNotFound()) {
    RAFTKV_RETURN_IF_ERROR(Make(path, Fence("", nullptr, cluster, node).Encode({}), env));
  }
  std::unique_ptr<rocksdb::RandomRWFile> file;
  RAFTKV_RETURN_IF_ERROR(
      Failed(env->NewRandomRWFile(path, &file, rocksdb::EnvOptions()), "open", path));
  std::unique_ptr<Fence> fence(new Fence(path, std::move(file), cluster, node));
  RAFTKV_RETURN_IF_ERROR(fence->Load());
  FenceRecord record = fence->found_;
  record.run = std::max(record.run + 1, now_us);
  raft::AckBounds& bounds = record.acknowledged;
  bounds.missing = bounds.missing && raft::IsShort(on_disk, bounds);
  if (!raft::IsBehind(on_disk, bounds.at_least)) bounds.at_least = on_disk;
  if (raft::IsBehind(bounds.at_most, on_disk)) bounds.at_most = on_disk;
  RAFTKV_RETURN_IF_ERROR(fence->WriteRecord(record));
  return fence;
}

StatusOr<std::optional<FenceRecord>> Fence::Read(const std::string& path, ClusterId cluster,
                                                 NodeId node, rocksdb::Env* env) {
  if (env == nullptr) env = rocksdb::Env::Default();
  std::string bytes;
  const rocksdb::Status read = rocksdb::ReadFileToString(env, path, &bytes);
  if (read.IsNotFound() || read.IsPathNotFound()) return std::optional<FenceRecord>();
  RAFTKV_RETURN_IF_ERROR(Failed(read, "read", path));
  Fence fence(path, nullptr, cluster, node);
  RAFTKV_RETURN_IF_ERROR(fence.Take(std::move(bytes)));
  return std::optional<FenceRecord>(fence.found_);
}

Status Fence::WriteAt(uint64_t offset, const std::string& bytes) {
  return Failed(file_->Write(offset, bytes), "write", path_);
}

Status Fence::Load() {
  std::string bytes(kNoteOffset + kSlotBytes, '\0');
  rocksdb::Slice read;
  RAFTKV_RETURN_IF_ERROR(Failed(file_->Read(0, bytes.size(), &read, bytes.data()), "read", path_));
  if (read.data() != bytes.data()) bytes.replace(0, read.size(), read.data(), read.size());
  return Take(std::move(bytes));
}

// `bytes` is what is in the file; what is missing of it counts as zeros.
Status Fence::Take(std::string bytes) {
  bytes.resize(kNoteOffset + kSlotBytes);
  std::optional<Slot> newest;
  for (const uint64_t offset : {uint64_t{0}, kSlotBytes}) {
    const std::optional<Slot> slot =
        DecodeSlot(std::string_view(bytes).substr(offset, kRecordBytes));
    if (slot && (!newest || slot->sequence > newest->sequence)) newest = slot;
  }
  if (!newest) {
    return {Code::kCorruption,
            path_ +
                " is damaged: it says what this node has promised to the others, so that it "
                "can't break its word. If a majority of the other members is up and well, "
                "remove the file and start again; else restore the directory from a copy"};
  }
  if (newest->version > kVersionMissing) {
    return {Code::kFailedPrecondition,
            path_ + " is of a newer format (" + std::to_string(newest->version) +
                ") than this raftkvd knows: use the version that wrote it, or a later one"};
  }
  if (newest->cluster != cluster_ || newest->node != node_) {
    return {Code::kFailedPrecondition,
            path_ + " belongs to another node; put the whole directory back as it was"};
  }
  sequence_ = newest->sequence;
  found_ = newest->record;
  // The note goes with one record: a later one knew better.
  std::optional<std::string_view> note =
      OpenSealed(kNoteKey, std::string_view(bytes).substr(kNoteOffset, kNoteBytes));
  uint64_t of = 0;
  LogPosition noted;
  if (!note || !ConsumeLittleEndian64(&*note, &of) || !ConsumePosition(&*note, &noted)) {
    return Status::Ok();
  }
  if (of == sequence_) found_.acknowledged.at_least = noted;
  // Its record is damaged. The next one goes into that slot, but must not get its number: the note
  // would count again, as if it knew of what is written now.
  if (of > sequence_) sequence_ += (of - sequence_ + 1) / 2 * 2;
  return Status::Ok();
}

std::string Fence::Encode(const FenceRecord& record) const {
  std::string bytes;
  AppendLittleEndian32(&bytes, record.acknowledged.missing ? kVersionMissing : kVersion);
  for (const uint64_t field : {cluster_.value(), node_.value(), sequence_, record.run,
                               record.term.value(), record.vote.value()}) {
    AppendLittleEndian64(&bytes, field);
  }
  AppendPosition(&bytes, record.acknowledged.at_least);
  AppendPosition(&bytes, record.acknowledged.at_most);
  Seal(kRecordKey, &bytes);
  return bytes;
}

Status Fence::WriteRecord(const FenceRecord& record) {
  ++sequence_;
  RAFTKV_RETURN_IF_ERROR(WriteAt(sequence_ % 2 == 0 ? 0 : kSlotBytes, Encode(record)));
  RAFTKV_RETURN_IF_ERROR(Failed(file_->Sync(), "sync", path_));
  ++syncs_;
  record_ = record;
  return Status::Ok();
}

Status Fence::Cover(Term term, NodeId vote, LogPosition last, const raft::AckBounds& owed) {
  const LogPosition room{last.index + kFenceReserve, term};
  const bool outgrown = raft::IsBehind(record_.acknowledged.at_most, last);
  bool is_covered = term == record_.term && vote == record_.vote && !outgrown;
  const LogPosition known = noted_ == LogPosition{} ? record_.acknowledged.at_least : noted_;
  raft::AckBounds next = owed;
  if (owed == raft::AckBounds{} && raft::IsShort(known, record_.acknowledged)) {
    next = {known, last, /*missing=*/true};
  }
  if (next.missing) {
    // With a write that goes further the log is whole, and without it it is not.
    if (raft::IsBehind(next.at_most, last)) next.at_most = last;
    is_covered = is_covered && record_.acknowledged == next;
  } else {
    // Where a leader's entries take the place of others, the log may end in a lower position than
    // before for a while: neither it nor the one before may look like a loss after a crash.
    const bool goes_back = raft::IsBehind(last, known);
    next = {goes_back ? last : known, room};
    is_covered = is_covered && !goes_back && !record_.acknowledged.missing;
  }
  if (is_covered) return Status::Ok();
  RAFTKV_RETURN_IF_ERROR(WriteRecord({record_.run, term, vote, next}));
  noted_ = {};
  return Status::Ok();
}

Status Fence::Note(LogPosition last) {
  if (last == noted_ || raft::IsBehind(last, record_.acknowledged.at_least)) return Status::Ok();
  std::string bytes;
  AppendLittleEndian64(&bytes, sequence_);
  AppendPosition(&bytes, last);
  Seal(kNoteKey, &bytes);
  RAFTKV_RETURN_IF_ERROR(WriteAt(kNoteOffset, bytes));
  noted_ = last;
  return Status::Ok();
}

}  // namespace raftkv::wal
