#include "store/cluster_state.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include "store/mvcc.h"

namespace raftkv::store {

StatusOr<ClusterState> ReadClusterState(rocksdb::DB* db, const FamilyHandle& kv) {
  ClusterState state;
  std::string bytes;
  const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), kv.get(), ConfigKey(), &bytes);
  if (!status.IsNotFound()) {
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(status, "kv: read the configuration"));
    RAFTKV_ASSIGN_OR_RETURN(state.configuration, DecodeConfigRecord(bytes));
  }
  const std::string end(1, kAlarmKind + 1);
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(options, kv.get()));
  for (it->Seek(std::string(1, kAlarmKind)); it->Valid(); it->Next()) {
    const std::string_view key(it->key().data(), it->key().size());
    Alarm alarm;
    RAFTKV_RETURN_IF_ERROR(DecodeAlarmKey(key, &alarm.member, &alarm.type));
    RAFTKV_RETURN_IF_ERROR(DecodeAlarmRecord(key, {it->value().data(), it->value().size()}));
    state.alarms.insert(alarm);
  }
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(it->status(), "kv: read the alarms"));
  return state;
}

}  // namespace raftkv::store
