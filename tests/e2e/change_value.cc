// Damages a stopped node's applied state in a way that no check of a start can see: the value of
// one key becomes another, in a record that is whole. Usage: change_value DB_DIRECTORY KEY VALUE
#include <iostream>
#include <optional>

#include "store/engine.h"
#include "store/kv_store.h"
#include "store/mvcc.h"
#include "store/mvcc_view.h"

namespace raftkv::store {
namespace {

Status ChangeValue(const std::string& directory, const std::string& key, const std::string& value) {
  EngineOptions options;
  options.path = directory;
  RAFTKV_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(options));
  const FamilyHandle kv = engine->kv();
  std::string data_key, bytes;
  {
    MvccView view = MvccView::ForKey(engine->db(), kv);
    std::optional<KeyVersion> found;
    RAFTKV_RETURN_IF_ERROR(view.Get(key, INT64_MAX, &found));
    if (!found) return {Code::kNotFound, "there is no key " + key};
    data_key = DataKey(key, found->mod);
    EncodeDataRecord(data_key, found->mod.main,
                     {false, found->create_revision, found->version, found->lease, value}, &bytes);
  }
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  RAFTKV_RETURN_IF_ERROR(
      FromRocksDb(engine->db()->Put(write, kv.get(), data_key, bytes), "changing a value"));
  return engine->FlushKv();
}

}  // namespace
}  // namespace raftkv::store

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: change_value DB_DIRECTORY KEY VALUE\n";
    return 2;
  }
  const raftkv::Status changed = raftkv::store::ChangeValue(argv[1], argv[2], argv[3]);
  if (changed.ok()) return 0;
  std::cerr << changed << "\n";
  return 1;
}
