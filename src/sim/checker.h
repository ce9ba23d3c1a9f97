// Watches all nodes from outside, their disks included, and throws when a promise is broken.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/node.h"

namespace raftkv::sim {

// A safety promise was broken; what() says which.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a node's log and hard state are on disk, kept beside the disk: every sync that succeeded is
// carried out here too. A start must find exactly this (or the one batch that was being written).
struct Shadow {
  HardState hard;
  LogPosition before_first;
  std::vector<Term> terms;  // of the entries after before_first

  Index last() const { return before_first.index + terms.size(); }
  bool Holds(LogPosition position) const;
  void CarryOut(const raft::AppendTask& task);
  std::string ToString() const;
  bool operator==(const Shadow&) const = default;
};

// A client's operation that has ended well.
struct Finished {
  bool is_read = false;
  std::string key;
  std::optional<std::string> value;  // written (none: deleted), or read (none: no such key)
  int64_t floor = 0;                 // the highest revision that was answered before it began
  int64_t revision = 0;
  uint64_t node = 0;
};

// Quorums are counted here by other code than the core's, so that the core's can be wrong.
class Checker : public NodeObserver {
 public:
  // `first`: the configuration that the nodes are bootstrapped with.
  explicit Checker(const Membership& first) { configs_[Index()] = first; }

  void OnRecovered(const SimNode& node, const wal::RecoveredLog& log,
                   const store::AppliedRecord& applied) override;
  void OnWriting(const SimNode& node, const std::vector<raft::AppendTask>& tasks) override;
  void OnSynced(const SimNode& node, const Status& durable) override;
  void OnOutput(const SimNode& node, const raft::Output& output) override;
  void OnSend(const SimNode& node, const raft::Message& message) override;
  void OnApplied(const SimNode& node, const Entry& entry,
                 const store::ApplyResult& result) override;
  void OnInstalled(const SimNode& node, const store::AppliedRecord& applied) override;
  void AfterInput(const SimNode& node) override;

  // What the node's disk holds is not what was synced any more. It is held to what it promised all
  // the same.
  void OnDamaged(NodeId node);
  // Its value must never be applied: a client was told that it was not and would not be.
  void NeverApplied(const std::string& value);
  // Linearizability, exactly: the log gives the one order of all writes, so that a read must return
  // what its revision says, and no operation may have a revision below one that was answered before
  // it began.
  void OnFinished(const Finished& operation);
  // The node's data is what the log amounts to, and its log, read from the disk, is the log.
  void CheckState(const SimNode& node) const;
  void CheckLog(const SimNode& node) const;
  // Compares the hashes of the state, of the live keys and of all records that are not versions of
  // keys (sessions, members, alarms), with what another node had at the same position.
  void CompareHash(const SimNode& node);

  Index committed() const { return Index(ghost_.size()); }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t hashes_compared() const { return hashes_compared_; }
  uint64_t leaders() const { return leaders_.size(); }

 private:
  struct GhostEntry {
    Term term;
    EntryKind kind = EntryKind::kNoop;
    std::string bytes;
    std::optional<std::string> result;  // what applying it answered
  };
  struct Change {
    int64_t revision = 0;
    std::optional<std::string> value;
  };

  [[noreturn]] void Fail(const SimNode& node, const std::string& what) const;
  void CheckHardState(const SimNode& node, const HardState& before, const HardState& after) const;
  void CheckTruncation(const SimNode& node, const raft::AppendTask& task) const;
  void MatchLogs(const SimNode& node, const raft::AppendTask& task);
  void CheckLeader(const SimNode& node);
  void CheckConfig(const SimNode& node) const;
  void Learn(const SimNode& node, const Entry& entry);
  void CheckStoredByQuorum(const SimNode& node, LogPosition position) const;
  void CheckOverlap(const SimNode& node, const Membership& membership);
  std::optional<std::string> ValueAt(const std::string& key, int64_t revision) const;

  std::map<NodeId, Shadow> shadows_;
  std::map<NodeId, std::vector<Shadow>> promised_;  // by nodes whose disks were damaged since
  std::map<NodeId, std::vector<raft::AppendTask>> writing_;
  std::vector<GhostEntry> ghost_;  // the committed log
  Index stored_;                   // up to here it was found on the disks of a quorum
  std::map<Term, LogPosition>
      committed_in_;  // the last entry that the leader of the term committed
  std::map<Term, NodeId> leaders_;
  std::map<std::pair<NodeId, Term>, NodeId> votes_;
  std::map<Index, Membership> configs_;  // committed ones, and the first
  // What precedes an entry that was stored anywhere, and a hash of what it is.
  std::map<std::pair<Index, Term>, std::pair<Term, size_t>> stored_entries_;
  std::map<std::string, std::vector<Change>> keys_;
  std::map<std::string, Index> applied_values_;
  std::set<std::string> never_applied_;
  struct StateHash {
    uint32_t live = 0;
    int64_t revision = 0;
    uint32_t records = 0;
    bool operator==(const StateHash&) const = default;
  };
  std::map<Index, StateHash> hashes_;
  std::map<NodeId, Index> commit_seen_;  // of nodes that are up
  int64_t newest_revision_ = 1;
  uint64_t acknowledged_ = 0;
  uint64_t hashes_compared_ = 0;
};

}  // namespace raftkv::sim
