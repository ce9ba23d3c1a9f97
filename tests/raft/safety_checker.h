// Watches a cluster of cores from outside and fails as soon as one of Raft's promises is broken.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "raft/sim_node.h"

namespace raftkv::raft {

// A promise was broken; what() says which.
class SafetyViolation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The five properties of the paper's figure 3, and what this project promises besides: nothing
// leaves a node that its disk does not back, reads are linearizable, every question is answered at
// most once, and the configuration in force is that of the last configuration entry in the log,
// each sharing a quorum with the one before it. Quorums are counted here by other code than the
// core's, so that the core's can be wrong. It is told of every event, and sees all nodes, their
// disks included.
class SafetyChecker {
 public:
  using Nodes = std::vector<std::unique_ptr<SimNode>>;

  // `nodes` must outlive it.
  explicit SafetyChecker(const Nodes& nodes);

  // After any input to `node`.
  void AfterInput(const SimNode& node);
  // When its output is taken.
  void OnOutput(const SimNode& node, const Output& output);
  // When a message leaves.
  void OnSend(const SimNode& node, const Message& message);
  // When what is on a disk changed.
  void OnDiskChange();
  void OnApplied(const SimNode& node, const SimNode::Applied& applied);
  void OnCrash(const SimNode& node);
  void OnStart(const SimNode& node);

  void OnProposed(const SimNode& node, LogPosition first, const std::vector<Payload>& payloads);
  void OnReadAsked(const SimNode& node, ReadToken token);

  // To be called when the cluster has come to rest: every question must have been answered, and
  // every proposal be committed or reported as dropped, unless who asked or proposed has crashed,
  // is not one of `members` any more, or installed a snapshot in the proposal's place.
  void CheckAllIsSettled(const Membership& members) const;

  // The highest index that was ever committed.
  Index committed() const { return start_.index + committed_.size(); }
  Index start() const { return start_.index; }
  // Of that entry, and the configuration then; `index` must not be before the first node's start.
  LogPosition PositionAt(Index index) const {
    return index == start_.index ? start_ : At(index).entry.position();
  }
  const Membership& MembershipAt(Index index) const;
  // For the run to show that it did something.
  size_t proposed() const { return proposals_.size(); }
  size_t reads_served() const { return reads_served_; }
  size_t dropped() const { return dropped_.size(); }
  size_t leaders() const { return leaders_.size(); }
  size_t configs() const { return committed_configs_.size() - 1; }
  size_t configs_overwritten() const;
  size_t installs() const { return installs_; }

 private:
  struct Committed {
    Entry entry;
    Term in_term;  // the term of the leader that committed it
  };
  // What an entry is, once and for all; the predecessor's term makes this Log Matching.
  struct Identity {
    Term previous_term;
    EntryKind kind = EntryKind::kNoop;
    std::string bytes;

    bool operator==(const Identity&) const = default;
  };
  struct Seen {
    Term term;
    Index commit;
  };

  void CheckLeader(const SimNode& node);
  void CheckElection(const SimNode& node) const;
  void CheckConfig(const SimNode& node, const Output& output);
  void CheckCommit(const SimNode& node);
  void CheckStoredByQuorum(Index index) const;
  void CheckVote(const SimNode& node, Term term, NodeId candidate);
  void CheckAcknowledgement(const SimNode& node, const Message& message,
                            const AppendResponse& response) const;
  const Committed& At(Index index) const { return committed_[index - start_.index - 1]; }
  Entry EntryOf(const SimNode& node, Index index) const;
  void AnswerRead(const SimNode& node, ReadToken token, const Index* index);

  const Nodes& nodes_;
  const LogPosition start_;
  std::vector<Committed> committed_;
  std::map<LogPosition, Identity> identities_;
  std::map<LogPosition, Membership> configs_;  // of all configuration entries ever written
  std::map<Index, Membership> committed_configs_;
  Membership committed_under_;  // that by which the last entry was found to be committed
  std::map<Term, NodeId> leaders_;
  std::map<std::pair<NodeId, Term>, NodeId> votes_;  // as far as told to others
  std::map<NodeId, Seen> seen_;                      // of nodes that are up
  std::map<std::pair<NodeId, ReadToken>, Index> reads_;
  std::map<LogPosition, NodeId> proposals_;
  std::map<LogPosition, NodeId> undecided_;  // not known to be dropped, by nodes that are still up
  std::set<LogPosition> dropped_;
  size_t reads_served_ = 0;
  size_t installs_ = 0;
};

}  // namespace raftkv::raft
