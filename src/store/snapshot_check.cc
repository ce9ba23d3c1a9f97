#include "store/snapshot_check.h"

#include "common/coding.h"
#include "store/mvcc.h"

namespace raftkv::store {
namespace {

Status Bad(const std::string& what) { return {Code::kInvalidArgument, "snapshot: " + what}; }
Status Incomplete(const std::string& what) { return {Code::kCorruption, "snapshot: " + what}; }

bool ConsumeRecord(std::string_view* in, std::string_view* key, std::string_view* record) {
  return ConsumeLengthPrefixed(in, key) && ConsumeLengthPrefixed(in, record) && !key->empty();
}

}  // namespace

Status SnapshotCheck::Add(std::string_view bytes, const Visitor& visit) {
  if (trailer_) return Bad("a chunk after the trailer");
  std::optional<uint64_t> id = id_;
  if (!id) {
    RAFTKV_ASSIGN_OR_RETURN(id, PeekSnapshotId(bytes));
  }
  RAFTKV_ASSIGN_OR_RETURN(const Chunk chunk, DecodeChunk(*id, bytes));
  if (chunk.number != next_chunk_) {
    return Bad("chunk " + std::to_string(chunk.number) + " came where chunk " +
               std::to_string(next_chunk_) + " was due");
  }
  if ((chunk.kind == ChunkKind::kHeader) != (chunk.number == 0)) {
    return Bad("chunk " + std::to_string(chunk.number) + " is of the wrong kind");
  }
  switch (chunk.kind) {
    case ChunkKind::kHeader: {
      RAFTKV_ASSIGN_OR_RETURN(SnapshotHeader header, DecodeSnapshotHeader(chunk.body));
      if (header.id != *id) return Bad("the header is of another snapshot");
      header_ = std::move(header);
      id_ = id;
      break;
    }
    case ChunkKind::kRecords:
      RAFTKV_RETURN_IF_ERROR(CheckRecords(chunk.body));
      RAFTKV_RETURN_IF_ERROR(VisitRecords(chunk.body, visit));
      break;
    case ChunkKind::kTrailer: {
      RAFTKV_ASSIGN_OR_RETURN(trailer_, DecodeSnapshotTrailer(chunk.body));
      ++next_chunk_;
      return Status::Ok();
    }
  }
  digest_.Update(bytes);
  ++next_chunk_;
  return Status::Ok();
}

// All of a chunk, before any of it is taken.
Status SnapshotCheck::CheckRecords(std::string_view body) {
  if (body.empty()) return Bad("a chunk without records");
  std::string_view last = last_key_;
  while (!body.empty()) {
    std::string_view key;
    std::string_view record;
    if (!ConsumeRecord(&body, &key, &record)) return Bad("a chunk of records is malformed");
    if (key <= last) return Bad("key \"" + Printable(key) + "\" is out of order");
    last = key;
    RAFTKV_RETURN_IF_ERROR(CheckOne(key, record));
  }
  return Status::Ok();
}

Status SnapshotCheck::CheckOne(std::string_view key, std::string_view record) {
  if (const Status status = CheckRecord(key, record); !status.ok()) return Bad(status.message());
  if (key == AppliedKey()) {
    const StatusOr<AppliedRecord> applied = DecodeAppliedRecord(record);
    if (!applied.ok()) return Bad(applied.status().message());
    if (*applied != header_.applied) return Bad("its applied record is not that of its header");
  } else if (key == ConfigKey()) {
    const StatusOr<Membership> membership = DecodeConfigRecord(record);
    if (!membership.ok()) return Bad(membership.status().message());
    if (*membership != header_.membership) return Bad("its membership is not that of its header");
  } else if (key.front() == kDataKind) {
    std::string user_key;
    Revision revision;
    DataRecord data;
    Status status = DecodeDataKey(key, &user_key, &revision);
    if (status.ok()) status = DecodeDataRecord(key, record, &data);
    if (!status.ok()) return Bad(status.message());
    if (revision.main > header_.applied.revision) {
      return Bad("key \"" + Printable(key) + "\" is of a revision after the snapshot's");
    }
  }
  return Status::Ok();
}

Status SnapshotCheck::VisitRecords(std::string_view body, const Visitor& visit) {
  std::string_view key;
  std::string_view record;
  while (!body.empty() && ConsumeRecord(&body, &key, &record)) {
    if (key == AppliedKey()) has_applied_ = true;
    if (key.front() == kDataKind) CountKey(key, record);
    ++records_;
    if (visit) RAFTKV_RETURN_IF_ERROR(visit(key, record));
  }
  last_key_ = key;
  return Status::Ok();
}

// The newest version of a key comes first, and decides whether it lives.
void SnapshotCheck::CountKey(std::string_view key, std::string_view record) {
  if (DataPrefixOf(key) == last_prefix_) return;
  last_prefix_ = DataPrefixOf(key);
  DataRecord data;
  if (DecodeDataRecord(key, record, &data).ok() && !data.tombstone) ++keys_;
}

Status SnapshotCheck::Finish() const {
  if (!trailer_) {
    return Incomplete("it ends before its trailer, after " + std::to_string(next_chunk_) +
                      " chunks");
  }
  if (trailer_->chunks != next_chunk_ - 1 || trailer_->records != records_) {
    return Incomplete("its trailer says " + std::to_string(trailer_->chunks) + " chunks with " +
                      std::to_string(trailer_->records) + " records, but " +
                      std::to_string(next_chunk_ - 1) + " with " + std::to_string(records_) +
                      " came");
  }
  if (trailer_->digest != digest_.Digest()) {
    return Incomplete("the digest of its chunks is not the one in its trailer");
  }
  if (!has_applied_) return Incomplete("it has no applied record");
  return Status::Ok();
}

}  // namespace raftkv::store
