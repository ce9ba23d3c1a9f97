#include "tools/dump/kv_records.h"

#include <memory>
#include <string>

#include <rocksdb/iterator.h>

namespace raftkv::tools::dump {

Status ForEachKvRecord(
    store::Engine* engine, char kind,
    const std::function<bool(std::string_view key, std::string_view record)>& each) {
  const store::FamilyHandle kv = engine->kv();
  const std::string start(1, kind);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(engine->db()->NewIterator(options, kv.get()));
  for (it->Seek(start); it->Valid() && it->key().starts_with(start); it->Next()) {
    if (!each({it->key().data(), it->key().size()}, {it->value().data(), it->value().size()})) {
      break;
    }
  }
  return store::FromRocksDb(it->status(),
                            std::string("reading the records of kind '") + kind + "'");
}

}  // namespace raftkv::tools::dump
