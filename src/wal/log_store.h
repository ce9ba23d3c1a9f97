// The Raft log and hard state in RocksDB: reading, verifying, and building the batches that change
// them. Writing and syncing is the log writer's (src/wal/log_writer.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/write_batch.h>

#include "common/status.h"
#include "common/types.h"
#include "raft/core.h"
#include "raft/log_reader.h"
#include "store/engine.h"

namespace raftkv::wal {

// What a start found, after verifying all of it.
struct RecoveredLog {
  HardState hard_state;
  raft::Membership membership;
  Index first;  // first > last when the log is empty
  Index last;
  LogPosition before_first;  // 0 if the log was never cut
  std::vector<raft::TermRun> terms;
  uint64_t bytes = 0;  // of all payloads
};

// Thread-safe for reads; AddToBatch belongs to the log writer's thread.
class LogStore : public raft::LogReader {
 public:
  // `engine` must outlive it.
  explicit LogStore(store::Engine* engine) : engine_(engine) {}

  // The raft_meta records of a node that has never run: for Engine::Bootstrap.
  static std::vector<std::pair<std::string, std::string>> BootstrapRecords(
      const raft::Membership& membership);

  // Reads and verifies: contiguous from the durable first index, terms never decreasing, each
  // entry's version, index and CRC; hard state not older than the last entry's term. Any violation
  // is kCorruption with a message that names the index and says what to do. Reads every entry once.
  // Called once, before anything is added to a batch.
  StatusOr<RecoveredLog> Recover();

  Status Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const override;

  // Adds to `batch` what makes `task` durable: removal from truncate_from on, entries, hard state.
  // Removal is by point deletes, never SingleDelete (it resurrected entries). The batch must be
  // written: the next call counts on it. Aborts on a task that Recover would refuse.
  Status AddToBatch(const raft::AppendTask& task, rocksdb::WriteBatch* batch);

 private:
  Status RecoverEntries(RecoveredLog* log) const;
  Status Truncate(Index from, rocksdb::WriteBatch* batch);

  store::Engine* const engine_;
  bool recovered_ = false;
  Index first_;
  // As of the last task added to a batch, which may not be written yet.
  Index last_;
  HardState hard_state_;
};

}  // namespace raftkv::wal
