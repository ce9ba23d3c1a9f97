#include "tools/dump/state_reader.h"

#include <memory>

#include <rocksdb/iterator.h>

namespace raftkv::tools::dump {
namespace {

// The first string that sorts behind all that start with `prefix`, which is not all 0xff.
std::string Behind(std::string prefix) {
  while (static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

// Calls `each` for every data record; it says whether to go on.
Status Walk(store::Engine* engine, const DataRange& range,
            const std::function<bool(std::string_view key, std::string_view record)>& each) {
  const store::FamilyHandle kv = engine->kv();
  const rocksdb::Slice end(range.end);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.fill_cache = false;
  options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, kv.get()));
  for (it->Seek(range.from); it->Valid(); it->Next()) {
    if (!each({it->key().data(), it->key().size()}, {it->value().data(), it->value().size()})) {
      break;
    }
  }
  return store::FromRocksDb(it->status(), "reading the keys");
}

}  // namespace

StatusOr<store::AppliedRecord> ReadApplied(store::Engine* engine) {
  std::string record;
  const rocksdb::Status status =
      engine->db()->Get(rocksdb::ReadOptions(), engine->kv().get(), store::AppliedKey(), &record);
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(status, "reading the applied record"));
  return store::DecodeAppliedRecord(record);
}

StatusOr<store::AppliedRecord> ReadAppliedOrInitial(store::Engine* engine) {
  StatusOr<store::AppliedRecord> applied = ReadApplied(engine);
  if (applied.status().code() == Code::kNotFound) return store::AppliedRecord();
  return applied;
}

DataRange DataRange::StartingWith(const std::string& prefix) {
  const std::string from = store::DataKeysStartingWith(prefix);
  return {from, Behind(from)};
}

DataRange DataRange::Between(const std::string& from, const std::string& end) {
  return {store::DataPrefix(from),
          end.empty() ? Behind(store::DataKeysStartingWith("")) : store::DataPrefix(end)};
}

Status ForEachVersion(
    store::Engine* engine, const DataRange& range, const std::function<bool(const KeyState&)>& each,
    const std::function<void(const KeyState& version, const Status& damage)>& damaged) {
  KeyState state;
  return Walk(engine, range, [&](std::string_view key, std::string_view record) {
    Status status = store::DecodeDataKey(key, &state.key, &state.mod);
    if (!status.ok()) state = KeyState();
    if (status.ok()) status = store::DecodeDataRecord(key, record, &state.record);
    if (status.ok()) return each(state);
    damaged(state, status);
    return true;
  });
}

Status ForEachKey(store::Engine* engine, const DataRange& range, int64_t revision,
                  const std::function<bool(const KeyState&)>& each,
                  const std::function<void(const Status&)>& damaged) {
  // Versions of one key stand together, newest first: the first one at or below the revision is the
  // key's state, and the rest are history.
  std::string decided;
  KeyState state;
  return Walk(engine, range, [&](std::string_view key, std::string_view record) {
    if (const Status status = store::DecodeDataKey(key, &state.key, &state.mod); !status.ok()) {
      damaged(status);
      return true;
    }
    if (state.mod.main > revision) return true;
    const std::string_view data_prefix = store::DataPrefixOf(key);
    if (data_prefix == decided) return true;
    decided.assign(data_prefix);
    if (const Status status = store::DecodeDataRecord(key, record, &state.record); !status.ok()) {
      damaged(status);
      return true;
    }
    return state.record.tombstone || each(state);
  });
}

Status ForEachKey(store::Engine* engine, const std::string& prefix, int64_t revision,
                  const std::function<void(const KeyState&)>& each,
                  const std::function<void(const Status&)>& damaged) {
  return ForEachKey(
      engine, DataRange::StartingWith(prefix), revision,
      [&](const KeyState& state) {
        each(state);
        return true;
      },
      damaged);
}

}  // namespace raftkv::tools::dump
