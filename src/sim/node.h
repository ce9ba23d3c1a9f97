// A node of the simulated cluster: the real core, log, store and engine, with the glue that
// normally lies in threads.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/rng.h"
#include "raft/core.h"
#include "sim/disk.h"
#include "sim/env.h"
#include "store/kv_store.h"
#include "wal/fence.h"
#include "wal/log_store.h"

namespace raftkv::sim {

// What is the same for every node of a run.
struct NodeOptions {
  store::EngineOptions engine;      // but for path and env
  raft::Options raft;               // but for the id
  uint64_t log_tail_entries = 100;  // kept when the log is cut
  uint32_t page_bytes = 4096;
  uint64_t wal_fill_bytes = 0;  // zeros written ahead in the WAL
  bool lazy_output = false;     // several inputs before what the core wants done is done
};

// The answer to a client.
struct Answer {
  uint64_t request = 0;
  Status status;
  int64_t revision = 0;              // of the header
  std::optional<std::string> value;  // that was read; none: there is no such key
  bool succeeded = true;             // of a transaction
  bool repeated = false;             // a session's first answer again
};

// A snapshot on its way.
struct SnapshotData {
  Term term;
  Index last;
  std::vector<std::string> chunks;
};

class SimNode;

// Sees what a node does, and may throw (sim/checker.h).
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  // The start read this from the disk.
  virtual void OnRecovered(const SimNode& node, const wal::RecoveredLog& log,
                           const store::AppliedRecord& applied) = 0;
  // About to be written, by the log writer or by a start; and synced.
  virtual void OnWriting(const SimNode& node, const std::vector<raft::AppendTask>& tasks) = 0;
  virtual void OnSynced(const SimNode& node, const Status& durable) = 0;
  virtual void OnOutput(const SimNode& node, const raft::Output& output) = 0;
  virtual void OnSend(const SimNode& node, const raft::Message& message) = 0;
  virtual void OnApplied(const SimNode& node, const Entry& entry,
                         const store::ApplyResult& result) = 0;
  virtual void OnInstalled(const SimNode& node, const store::AppliedRecord& applied) = 0;
  virtual void AfterInput(const SimNode& node) = 0;
};

// The process ended because its disk failed, as it is meant to.
class DiskFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Every method that runs the node may throw DiskFailed or ProcessEnd: then it is to be crashed.
//
// It stands in for RaftLoop, LogWriter, ApplyLoop, Maintenance, the snapshot sender and receiver,
// and the part of App that opens the directory; these are what the simulator does not test.
class SimNode {
 public:
  static constexpr char kDatabase[] = "/node/db";
  static constexpr char kFence[] = "/node/fence";

  SimNode(NodeId id, const NodeOptions& options, uint64_t seed, NodeObserver* observer);
  ~SimNode();

  NodeId id() const { return id_; }
  bool up() const { return process_ != nullptr; }
  SimDisk& disk() { return disk_; }
  const SimDisk& disk() const { return disk_; }
  SimClock& clock() { return clock_; }
  SimEnv& env() { return env_; }
  const raft::Core& core() const { return *process_->core; }
  const store::KvStore& store() const { return *process_->store; }
  // Of the log as it is on disk.
  Status ReadLog(Index from, Index to, std::vector<Entry>* out) const;
  // A hash of every record of the applied state but versions of keys, which are cleared away when
  // there is time, and of the session limits.
  StatusOr<uint32_t> HashRecords() const;

  // Opens the directory as App does, bootstrapping it when it never held a database. Not OK: the
  // node refuses to start.
  Status Start(const Membership& bootstrap);
  // Power loss, or the process alone. The node is down afterwards.
  void Crash(CrashKind kind);

  void Tick();
  void Step(raft::Message message);
  void Campaign();
  // A client's write, encoded but for the time. Not OK: it was not taken, and never will be.
  Status Write(uint64_t request, std::string command, uint64_t now_ms);
  Status ReadKey(uint64_t request, std::string key);
  Status ChangeConfig(const Membership& target);
  Status TransferLeadership(NodeId to);

  // The log writer's turn: everything that waits, one batch, one sync.
  bool HasLogWork() const { return !process_->log_queue.empty(); }
  // Whether that takes something off the log's end: a snapshot, or what another leader overwrites.
  bool HasRemovalWork() const;
  void WriteLog();
  // The apply thread's turn.
  bool HasApplyWork() const { return !process_->apply_queue.empty(); }
  void Apply();
  // What the two report to the core, each later.
  bool HasReports() const { return process_->appended || process_->applied_report; }
  void Report();
  bool HasBackgroundWork() const { return env_.HasWork(); }
  void RunBackgroundWork();
  // Maintenance.
  void FlushKv();
  void CutLog();
  void DeleteLeftovers();

  // Snapshots: made on the leader, taken in on the follower.
  StatusOr<SnapshotData> MakeSnapshot(uint64_t id);
  Status TakeSnapshot(NodeId from, const SnapshotData& snapshot);
  void OnSnapshotSent(NodeId to, Index last);

  std::vector<raft::Message> TakeOutbox() { return std::exchange(process_->outbox, {}); }
  std::vector<Answer> TakeAnswers() { return std::exchange(process_->answers, {}); }
  std::vector<NodeId> TakeSnapshotsWanted() {
    return std::exchange(process_->snapshots_wanted, {});
  }

 private:
  struct Read {
    uint64_t request = 0;
    std::string key;
  };
  struct Switch {
    uint64_t staged = 0;
    Index index;
  };
  struct Process {
    std::unique_ptr<store::Engine> engine;
    std::unique_ptr<wal::LogStore> log;
    std::unique_ptr<wal::Fence> fence;
    std::unique_ptr<store::KvStore> store;
    std::unique_ptr<raft::Core> core;
    std::deque<raft::AppendTask> log_queue;
    std::deque<std::variant<std::vector<Entry>, Switch>> apply_queue;
    std::optional<raft::AppendSeq> appended;
    std::optional<Index> applied_report;
    std::map<Index, std::pair<Term, uint64_t>> proposed;  // term and request
    std::map<raft::ReadToken, std::vector<Read>> reads;
    std::multimap<Index, Read> ready_reads;
    std::vector<raft::Message> outbox;
    std::vector<Answer> answers;
    std::vector<NodeId> snapshots_wanted;
  };

  Status OpenDirectory(Process* process, const Membership& bootstrap);
  Status Recover(Process* process);
  Status KeepPromises(Process* process, wal::RecoveredLog* log) const;
  // Every WAL file that a start would need is on the platter, and so is its name.
  Status CheckLogIsDurable(store::Engine* engine) const;
  // After each input to the core.
  void AfterInput();
  void CarryOut(raft::Output output);
  void ApplyEntries(std::vector<Entry> entries);
  void ServeReads(Index applied);
  void Give(uint64_t request, Status status);
  static void OrFail(const Status& status);

  const NodeId id_;
  const NodeOptions options_;
  NodeObserver* const observer_;
  Rng rng_;
  SimClock clock_;
  SimDisk disk_;
  SimEnv env_;
  bool had_database_ = false;
  std::unique_ptr<Process> process_;
};

}  // namespace raftkv::sim
