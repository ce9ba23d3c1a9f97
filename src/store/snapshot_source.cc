#include "store/snapshot_source.h"

#include <optional>
#include <utility>

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include "common/coding.h"
#include "store/cluster_state.h"
#include "store/mvcc.h"
#include "store/sha256.h"

namespace raftkv::store {
namespace {

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

}  // namespace

class SnapshotSource::Impl {
 public:
  Impl(std::unique_ptr<Engine> engine, SnapshotHeader header)
      : engine_(std::move(engine)), kv_(engine_->kv()), header_(std::move(header)) {}

  // The chunk `number`, which the last call or Seek left us before.
  StatusOr<std::string> Read(uint64_t number) {
    uint64_t records = 0;
    std::string chunk;
    if (number == 0) {
      chunk = EncodeChunk(header_.id, 0, ChunkKind::kHeader, EncodeSnapshotHeader(header_));
    } else {
      RAFTKV_ASSIGN_OR_RETURN(const std::string body, ReadBody(&records));
      if (records == 0) return Trailer(number);
      chunk = EncodeChunk(header_.id, number, ChunkKind::kRecords, body);
    }
    if (number == starts_.size()) {
      // For the first time. What is read again after a Rewind is in the digest already.
      starts_.push_back(next_key_);
      digest_.Update(chunk);
      records_ += records;
    }
    return chunk;
  }

  uint64_t chunks_read() const { return starts_.size(); }
  bool IsBehindTrailer(uint64_t number) const { return trailer_ && number > *trailer_; }

  void Seek(uint64_t number) {
    it_.reset();
    next_key_ = number == 0 ? "" : starts_[number - 1];
  }

 private:
  StatusOr<std::string> ReadBody(uint64_t* records) {
    if (!it_) {
      rocksdb::ReadOptions options;
      options.total_order_seek = true;
      options.fill_cache = false;
      options.readahead_size = 2 << 20;
      it_.reset(engine_->db()->NewIterator(options, kv_.get()));
      it_->Seek(next_key_);
    }
    std::string body;
    for (; it_->Valid() && body.size() < kSnapshotChunkBytes; it_->Next()) {
      RAFTKV_RETURN_IF_ERROR(CheckRecord(View(it_->key()), View(it_->value())));
      AppendLengthPrefixed(&body, View(it_->key()));
      AppendLengthPrefixed(&body, View(it_->value()));
      next_key_.assign(it_->key().data(), it_->key().size());
      ++*records;
    }
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(it_->status(), "reading a snapshot"));
    if (*records > 0) next_key_.push_back('\0');  // the first key that can follow
    return body;
  }

  std::string Trailer(uint64_t number) {
    trailer_ = number;
    return EncodeChunk(header_.id, number, ChunkKind::kTrailer,
                       EncodeSnapshotTrailer({number, records_, digest_.Digest()}));
  }

  std::unique_ptr<Engine> engine_;
  FamilyHandle kv_;
  const SnapshotHeader header_;
  std::unique_ptr<rocksdb::Iterator> it_;  // null: to be put at next_key_
  std::string next_key_;                   // where the next chunk of records begins
  std::vector<std::string> starts_;        // of the chunk that follows each one read
  std::optional<uint64_t> trailer_;        // its number, once it is known
  Sha256 digest_;
  uint64_t records_ = 0;
};

StatusOr<std::unique_ptr<SnapshotSource>> SnapshotSource::Open(std::unique_ptr<Engine> checkpoint,
                                                               const Membership& membership,
                                                               uint64_t id) {
  const FamilyHandle kv = checkpoint->kv();
  std::string record;
  const rocksdb::Status status =
      checkpoint->db()->Get(rocksdb::ReadOptions(), kv.get(), AppliedKey(), &record);
  if (status.IsNotFound()) {
    return Status(Code::kFailedPrecondition,
                  "there is nothing to take a snapshot of: no entry was ever applied");
  }
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(status, "reading the applied record"));
  SnapshotHeader header;
  header.id = id;
  header.cluster = checkpoint->identity().cluster;
  RAFTKV_ASSIGN_OR_RETURN(header.applied, DecodeAppliedRecord(record));
  RAFTKV_ASSIGN_OR_RETURN(const ClusterState cluster, ReadClusterState(checkpoint->db(), kv));
  header.membership = cluster.configuration.value_or(membership);
  header.bytes_expected = checkpoint->IntProperty(kv.get(), "rocksdb.estimate-live-data-size");
  std::unique_ptr<SnapshotSource> source(
      new SnapshotSource(std::make_unique<Impl>(std::move(checkpoint), header)));
  source->header_ = std::move(header);
  return source;
}

SnapshotSource::SnapshotSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SnapshotSource::~SnapshotSource() = default;

StatusOr<bool> SnapshotSource::Next(std::string* chunk) {
  if (impl_->IsBehindTrailer(next_chunk_)) return false;
  RAFTKV_ASSIGN_OR_RETURN(*chunk, impl_->Read(next_chunk_));
  ++next_chunk_;
  return true;
}

Status SnapshotSource::Rewind(uint64_t number) {
  if (number == next_chunk_) return Status::Ok();
  if (number > impl_->chunks_read()) {
    return {Code::kInvalidArgument, "snapshot: chunk " + std::to_string(number) +
                                        " was not read yet; the next one is " +
                                        std::to_string(next_chunk_)};
  }
  impl_->Seek(number);
  next_chunk_ = number;
  return Status::Ok();
}

}  // namespace raftkv::store
