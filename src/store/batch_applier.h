// Applies a run of log entries to one RocksDB batch.
#pragma once

#include <google/protobuf/arena.h>

#include <cstddef>

#include "common/types.h"
#include "store/applied_record.h"
#include "store/apply_result.h"
#include "store/batch_writer.h"
#include "store/cluster_state.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/session_table.h"
#include "store/txn.h"

namespace raftkv::store {

// Owned by the apply thread; lives for one batch. Takes requests as they are: what is in the log
// was validated by the node that proposed it, and rules that may differ between versions of this
// program must not decide what replicas hold.
class BatchApplier {
 public:
  // `before` is the state before the batch. `cluster` and `newest` are kept up to date. `batch` is
  // empty, and is what the entries change.
  BatchApplier(Engine* engine, SessionTable* sessions, ClusterState* cluster,
               NewestVersions* newest, const AppliedRecord& before, rocksdb::WriteBatch* batch);

  // Aborts if the entry does not follow the last one or can't be decoded. `awaited`: somebody wants
  // the answer; `result` may lack what was read for it otherwise.
  void Apply(const Entry& entry, bool awaited, ApplyResult* result);

  // Whether the next entry had better go into another batch: what the changes take in memory until
  // this one is written, or the answers until they are given, has become much.
  bool full() const { return writer_.overlay_bytes() + answer_bytes_ >= kBatchBytesMax; }

  // Adds what remains to the batch, the applied record among it. Once, last.
  void Finish();

  const AppliedRecord& applied() const { return applied_; }
  // Whether the configuration or the alarms are not what they were.
  bool cluster_changed() const { return cluster_changed_; }

 private:
  static constexpr size_t kBatchBytesMax = 64 << 20;

  void ApplyCommand(const Command& command, bool awaited, ApplyResult* result);
  void Execute(const Command& command, bool answer_wanted, ApplyResult* result);
  template <typename Request, typename Response>
  void Write(const Command& command, bool answer_wanted,
             Status (Transaction::*write)(const Request&, Response*), ApplyResult* result);
  template <typename Request>
  const Request& Parse(const Command& command);
  Status Compact(int64_t revision, etcdserverpb::CompactionResponse* response);
  void StoreMember(const etcdserverpb::Member& member);
  void Configure(const Entry& entry);
  void ChangeAlarms(const etcdserverpb::AlarmRequest& request,
                    etcdserverpb::AlarmResponse* response);
  void Lower(const Alarm& alarm);
  void Put(const std::string& key, const std::string& record);
  void Delete(const std::string& key);

  SessionTable* sessions_;
  ClusterState* cluster_;
  AppliedRecord applied_;
  bool cluster_changed_ = false;
  size_t answer_bytes_ = 0;
  google::protobuf::Arena arena_;  // requests: the writer's overlay points into them
  BatchWriter writer_;
};

}  // namespace raftkv::store
