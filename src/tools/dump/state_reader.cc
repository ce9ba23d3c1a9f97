#include "tools/dump/state_reader.h"

#include <memory>

#include <rocksdb/iterator.h>

namespace raftkv::tools::dump {

StatusOr<store::AppliedRecord> ReadApplied(store::Engine* engine) {
  std::string record;
  const rocksdb::Status status =
      engine->db()->Get(rocksdb::ReadOptions(), engine->kv().get(), store::AppliedKey(), &record);
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(status, "reading the applied record"));
  return store::DecodeAppliedRecord(record);
}

Status ForEachKey(store::Engine* engine, const std::string& prefix, int64_t revision,
                  const std::function<void(const KeyState&)>& each,
                  const std::function<void(const Status&)>& damaged) {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(
      engine->db()->NewIterator(options, engine->kv().get()));
  const std::string start = store::DataKeysStartingWith(prefix);
  // Versions of one key stand together, newest first: the first one at or below the revision is the
  // key's state, and the rest are history.
  std::string decided;
  KeyState state;
  for (it->Seek(start); it->Valid() && it->key().starts_with(start); it->Next()) {
    const std::string_view data_key(it->key().data(), it->key().size());
    if (const Status status = store::DecodeDataKey(data_key, &state.key, &state.mod);
        !status.ok()) {
      damaged(status);
      continue;
    }
    if (state.mod.main > revision) continue;
    const std::string_view data_prefix = store::DataPrefixOf(data_key);
    if (data_prefix == decided) continue;
    decided.assign(data_prefix);
    const std::string_view bytes(it->value().data(), it->value().size());
    if (const Status status = store::DecodeDataRecord(data_key, bytes, &state.record);
        !status.ok()) {
      damaged(status);
      continue;
    }
    if (!state.record.tombstone) each(state);
  }
  return store::FromRocksDb(it->status(), "reading the keys");
}

}  // namespace raftkv::tools::dump
