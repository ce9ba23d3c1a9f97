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
#include "raft/persistent_state.h"
#include "store/engine.h"

namespace raftkv::wal {

// What a start found, after verifying all of it.
struct RecoveredLog {
  HardState hard_state;
  Membership membership;                   // as of `before_first`
  std::vector<raft::ConfigEntry> configs;  // those in the log, in order
  Index first;                             // first > last when the log is empty
  Index last;
  LogPosition before_first;  // 0 if the log was never cut
  std::vector<raft::TermRun> terms;
  uint64_t bytes = 0;  // of all payloads
};

// Where that log ends: the position of its last entry, or of what it was cut after.
LogPosition EndOf(const RecoveredLog& log);

// What a core starts from, the state machine being at `applied`.
raft::PersistentState StartingState(const RecoveredLog& log, const LogPosition& applied);

// Thread-safe for reads; AddToBatch belongs to the log writer's thread.
class LogStore : public raft::LogReader {
 public:
  // `engine` must outlive it.
  explicit LogStore(store::Engine* engine) : engine_(engine) {}

  // The raft_meta records of a node that has never run: for Engine::Bootstrap. One whose applied
  // state comes from a backup begins its log at `start`, where `membership` is in force, with a
  // hard state to match.
  static std::vector<std::pair<std::string, std::string>> BootstrapRecords(
      const Membership& membership, const LogPosition& start = {},
      const HardState& hard_state = {});

  // Reads and verifies: contiguous from the durable first index, terms never decreasing, each
  // entry's version, index and CRC; what configuration entries say; hard state not older than the
  // last entry's term. Any violation is kCorruption with a message that names the index and says
  // what to do. Reads every entry once. Entries below the first are leftovers of a cut and ignored.
  // Called once, before anything is added to a batch.
  StatusOr<RecoveredLog> Recover();

  // The configuration at the log's start, without looking at the log.
  StatusOr<Membership> BaseMembership() const;

  // Whether applied state that stands at `applied` belongs to the log that Recover found:
  // kCorruption, saying what to do, when the log ends before it, begins after it, or has another
  // term there.
  Status CheckApplied(const LogPosition& applied, const RecoveredLog& log) const;

  Status Read(Index from, Index to, uint64_t bytes_max, std::vector<Entry>* out) const override;

  // Adds to `batch` what makes `task` durable: the snapshot that takes the log's place, its new
  // start, removal from truncate_from on, entries, hard state. Removal is by point deletes, never
  // SingleDelete (it resurrected entries). The batch must be written: the next call counts on it.
  // Aborts on a task that Recover would refuse.
  Status AddToBatch(const raft::AppendTask& task, rocksdb::WriteBatch* batch);

  // Writes and syncs `hard_state`, which is not older than what Recover found, outside of any
  // batch: for a start that knows better than the database (src/wal/fence.h). After Recover, before
  // anything is added to a batch.
  Status RestoreHardState(const HardState& hard_state);
  // As of the last task added to a batch.
  const HardState& hard_state() const { return hard_state_; }

  // Whether there may be entries below the log's start that have not been deleted.
  bool HasLeftovers() const { return deleted_to_ < first_ || has_whole_tables_; }
  // Does a bounded part of deleting them, without a sync: what a crash undoes is done anew after
  // the next start. Only once the batch that moved the start is on disk.
  Status DeleteLeftovers();

 private:
  Status RecoverEntries(RecoveredLog* log) const;
  StatusOr<Index> FindLeftovers(Index first) const;
  Status Install(const raft::AppendTask& task, rocksdb::WriteBatch* batch);
  Status MoveStart(const LogPosition& before_first, const Membership& membership,
                   rocksdb::WriteBatch* batch);
  Status Truncate(Index from, rocksdb::WriteBatch* batch);
  Status DeleteOneWholeTable();

  store::Engine* const engine_;
  bool recovered_ = false;
  // As of the last task added to a batch, which may not be written yet.
  Index first_;
  Index last_;
  Index deleted_to_;               // entries below it are deleted, though whole tables of them...
  bool has_whole_tables_ = false;  // ...may still be there
  HardState hard_state_;
};

}  // namespace raftkv::wal
