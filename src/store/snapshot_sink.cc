#include "store/snapshot_sink.h"

#include <utility>

#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>

#include "store/engine.h"
#include "store/engine_files.h"
#include "store/engine_options.h"
#include "store/snapshot_check.h"

namespace raftkv::store {
namespace {

constexpr uint64_t kTableBytes = 64 << 20;

rocksdb::Slice Slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace

class SnapshotSink::Impl {
 public:
  Impl(std::string directory, std::optional<uint64_t> id, Filter filter, rocksdb::Env* env)
      : directory_(std::move(directory)),
        filter_(std::move(filter)),
        env_(env),
        table_options_(StagedTableOptions(env)),
        check_(id) {}

  Status Add(std::string_view chunk) {
    if (!broken_.ok()) return broken_;
    RAFTKV_RETURN_IF_ERROR(check_.Add(chunk, [this](std::string_view key, std::string_view record) {
      broken_ = Write(key, record);
      return broken_;
    }));
    bytes_ += chunk.size();
    return Status::Ok();
  }

  StatusOr<std::vector<std::string>> Finish() {
    RAFTKV_RETURN_IF_ERROR(broken_);
    RAFTKV_RETURN_IF_ERROR(check_.Finish());
    RAFTKV_RETURN_IF_ERROR(CloseTable());
    RAFTKV_RETURN_IF_ERROR(SyncDirectory(directory_, env_));
    return tables_;
  }

  const SnapshotCheck& check() const { return check_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Status Write(std::string_view key, std::string_view record) {
    std::optional<std::string> replacement;
    if (filter_ && !filter_(key, record, &replacement)) return Status::Ok();
    if (!table_) {
      table_ = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(), table_options_);
      const std::string path = directory_ + "/" + std::to_string(tables_.size()) + ".sst";
      RAFTKV_RETURN_IF_ERROR(FromRocksDb(table_->Open(path), "making the table " + path));
      tables_.push_back(path);
    }
    const std::string_view value = replacement ? std::string_view(*replacement) : record;
    RAFTKV_RETURN_IF_ERROR(
        FromRocksDb(table_->Put(Slice(key), Slice(value)), "writing " + tables_.back()));
    return table_->FileSize() >= kTableBytes ? CloseTable() : Status::Ok();
  }

  // RocksDB syncs the file here.
  Status CloseTable() {
    if (!table_) return Status::Ok();
    const Status status = FromRocksDb(table_->Finish(), "writing " + tables_.back());
    table_.reset();
    return status;
  }

  const std::string directory_;
  const Filter filter_;
  rocksdb::Env* const env_;
  const rocksdb::Options table_options_;
  SnapshotCheck check_;
  std::unique_ptr<rocksdb::SstFileWriter> table_;  // null: none is open
  std::vector<std::string> tables_;
  uint64_t bytes_ = 0;
  Status broken_;  // a write failed: nothing more can be taken
};

SnapshotSink::SnapshotSink(std::string directory, std::optional<uint64_t> id, Filter filter,
                           rocksdb::Env* env)
    : impl_(std::make_unique<Impl>(std::move(directory), id, std::move(filter), env)) {}
SnapshotSink::~SnapshotSink() = default;

Status SnapshotSink::Add(std::string_view chunk) { return impl_->Add(chunk); }
uint64_t SnapshotSink::next_chunk() const { return impl_->check().next_chunk(); }
bool SnapshotSink::has_trailer() const { return impl_->check().has_trailer(); }
const SnapshotHeader& SnapshotSink::header() const { return impl_->check().header(); }
uint64_t SnapshotSink::bytes() const { return impl_->bytes(); }
StatusOr<std::vector<std::string>> SnapshotSink::Finish() { return impl_->Finish(); }

}  // namespace raftkv::store
