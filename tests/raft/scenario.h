// Runs the scenario files of tests/raft/scenarios: nothing happens in them but what a line asks
// for.
//
// Commands, one a line; ID is a node, LINK is FROM->TO where either may be *:
//   cluster N [OPTION=VALUE ...]   N new voters (options: election, heartbeat, append-entries,
//                                  inflight, uncommitted, apply-bytes, cache), and so many
//                                  `spares` besides that are in no configuration
//   config ID voters=ID,... [learners=ID,...]
//                                  proposes that configuration
//   trim ID INDEX                  the log is to be cut off up to there
//   snapshot FROM->TO [id=N]       TO gets a snapshot of what FROM has applied, in its term;
//   `lost`:
//                                  it does not. FROM is told.
//   disk ID [term=T] [vote=ID] [commit=I] [log=TERM[*COUNT],...] [start=INDEX,TERM]
//                                  what a node that is down finds on disk; start: cut off up to
//                                  there
//   start ID [applied=I]           starts it; `cluster` has started all
//   lose ID INDEX [noted=N] [forget]
//                                  a node that is down loses what its log held after INDEX; of what
//                                  it remembers beside the log, what was noted after N, or all
//   crash ID [keep=N]              loses what is not synced but for N writes (and the state
//   machine) tick ID [N] campaign ID | propose ID WORD... | read ID | transfer ID [TO] sync ID [N]
//   [silent]           the next N writes (all) become durable; the core is told unless
//                                  silent
//   report ID                      ... then by this
//   apply ID                       everything handed out is applied, and the core is told
//   deliver|drop|copy LINK [KIND] [first|last]
//                                  what is on that link now (of a kind, e.g. Append; one of them)
//   cut LINK | heal                what is sent over a cut link is lost
//   settle                         deliver, sync and apply until nothing is left to do; prints role
//                                  changes, reads and dropped entries only
//   net | status [ID...] | log ID | disklog ID | peers ID
//
// A command prints what it made the nodes do. Lines that begin with # are comments.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/sim_node.h"

namespace raftkv::raft {

class Scenario {
 public:
  // What the command line prints; begins with "error:" for one that makes no sense.
  std::string Run(const std::string& line);

 private:
  struct Args;
  using Handler = void (Scenario::*)(const Args&);

  void Cluster(const Args& args);
  void Disk(const Args& args);
  void Start(const Args& args);
  void Crash(const Args& args);
  void Lose(const Args& args);
  void Tick(const Args& args);
  void Campaign(const Args& args);
  void Lead(const Args& args);
  void Propose(const Args& args);
  void Read(const Args& args);
  void Transfer(const Args& args);
  void Sync(const Args& args);
  void Report(const Args& args);
  void Apply(const Args& args);
  void Deliver(const Args& args);
  void Drop(const Args& args);
  void Copy(const Args& args);
  void Cut(const Args& args);
  void Heal(const Args& args);
  void Settle(const Args& args);
  void Net(const Args& args);
  void Status(const Args& args);
  void Log(const Args& args);
  void DiskLog(const Args& args);
  void Peers(const Args& args);
  void Config(const Args& args);
  void Trim(const Args& args);
  void Snapshot(const Args& args);

  SimNode& Node(const Args& args, size_t position = 0);
  // Removes the messages that `args` select from the network and returns them.
  std::vector<Message> Select(const Args& args);
  void DeliverOne(Message message);
  // Prints and routes what the node has to do.
  void Collect(SimNode& node);
  void PrintOutput(NodeId id, const Output& output);
  void Post(const std::vector<Message>& messages);
  std::string Show(Message message);

  void Print(const std::string& line) { out_ += line + "\n"; }

  std::map<NodeId, std::unique_ptr<SimNode>> nodes_;
  std::map<NodeId, uint64_t> starts_;
  std::deque<Message> network_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::map<uint64_t, uint64_t> request_names_;  // ids of read requests are random: show 1, 2, ...
  bool terse_ = false;
  std::string out_;
};

}  // namespace raftkv::raft
