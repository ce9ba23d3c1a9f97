#include "tools/dump/log_reader.h"

#include <optional>

#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

template <typename T>
StatusOr<T> ReadMeta(store::Engine* engine, std::string_view name,
                     StatusOr<T> (*decode)(std::string_view)) {
  std::string record;
  const rocksdb::Status status =
      engine->db()->Get(rocksdb::ReadOptions(), engine->raft_meta(),
                        rocksdb::Slice(name.data(), name.size()), &record);
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(status, "reading " + std::string(name)));
  return decode(record);
}

std::unique_ptr<rocksdb::Iterator> NewLogIterator(store::Engine* engine) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.fill_cache = false;
  return std::unique_ptr<rocksdb::Iterator>(engine->db()->NewIterator(options, engine->raft_log()));
}

std::optional<Index> KeyOf(const rocksdb::Iterator& it) {
  return wal::ParseLogKey(std::string_view(it.key().data(), it.key().size()));
}

}  // namespace

LogMeta ReadLogMeta(store::Engine* engine) {
  LogMeta meta;
  meta.hard_state = ReadMeta(engine, wal::kHardStateKey, wal::DecodeHardState);
  meta.membership = ReadMeta(engine, wal::kMembershipKey, wal::DecodeMembershipRecord);
  meta.before_first = ReadMeta(engine, wal::kLogStartKey, wal::DecodeLogStart);
  return meta;
}

StatusOr<LogBounds> ReadLogBounds(store::Engine* engine, const LogMeta& meta) {
  const Index before_first = meta.before_first.ok() ? meta.before_first->index : Index(0);
  LogBounds bounds{before_first + 1, before_first};
  const auto it = NewLogIterator(engine);
  it->SeekToLast();
  if (it->Valid()) {
    const std::optional<Index> last = KeyOf(*it);
    if (!last) return Status(Code::kCorruption, "raft_log holds a key that is not an index");
    if (*last > bounds.last) bounds.last = *last;
  }
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(it->status(), "looking for the end of the log"));
  return bounds;
}

Status ForEachRecord(store::Engine* engine, Index from, Index to,
                     const std::function<void(const LogRecord&)>& each) {
  return ForEachRecordWhile(engine, from, to, [&](const LogRecord& record) {
    each(record);
    return true;
  });
}

Status ForEachRecordWhile(store::Engine* engine, Index from, Index to,
                          const std::function<bool(const LogRecord&)>& each) {
  const auto it = NewLogIterator(engine);
  Index next = from;
  for (it->Seek(wal::LogKey(from)); it->Valid(); it->Next()) {
    const std::optional<Index> found = KeyOf(*it);
    if (!found) return Status(Code::kCorruption, "raft_log holds a key that is not an index");
    if (*found > to) break;
    if (*found > next && !each({.index = next, .missing_to = *found - 1})) return Status::Ok();
    const std::string_view raw(it->value().data(), it->value().size());
    const bool go_on = each({.index = *found,
                             .raw = raw,
                             .bytes = raw.size(),
                             .entry = wal::DecodeEntryView(*found, raw)});
    // Also keeps an index that is the highest there can be from starting over at 0.
    if (!go_on || *found == to) return Status::Ok();
    next = *found + 1;
  }
  // A read error ends the iteration early: what is behind it is not missing but unknown.
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(
      it->status(), "reading the log from index " + std::to_string(next.value())));
  each({.index = next, .missing_to = to});
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
