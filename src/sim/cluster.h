// One run: nodes, network, clients and faults, on simulated time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/checker.h"
#include "sim/node.h"
#include "sim/plan.h"
#include "sim/seams.h"

namespace raftkv::sim {

// The cluster did not get going again once the faults had stopped.
class Stuck : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
// A node ended, or refused to start, though nothing was wrong with its disk.
class Crashed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct RunSummary {
  uint64_t hash = 0;  // of every disk operation and every message, in order
  uint64_t steps = 0;
  uint64_t micros = 0;  // simulated
  uint64_t restarts = 0;
  uint64_t refused = 0;  // starts refused after a harsh power loss
  uint64_t healed = 0;   // nodes that lost what they had acknowledged and have it again
  uint64_t disk_operations = 0;
  uint64_t messages = 0;
  uint64_t committed = 0;
  uint64_t acknowledged = 0;  // reads and writes, each checked
  uint64_t leaders = 0;
  uint64_t snapshots = 0;
  uint64_t configs = 0;
  uint64_t hashes_compared = 0;
  std::array<uint64_t, kFaultKinds> faults{};  // that happened

  void Add(const RunSummary& other);
};
std::string ToString(const RunSummary& summary);

class Cluster {
 public:
  // With `trace` every event is printed to stdout.
  Cluster(const Plan& plan, bool trace);
  ~Cluster();

  // Throws Violation, Stuck or Crashed.
  RunSummary Run();
  RunSummary summary() const;

 private:
  struct Host;  // a node and what surrounds it
  struct Client;
  struct Event {
    uint64_t time = 0;
    uint64_t number = 0;
    std::function<void()> run;
    bool operator>(const Event& other) const {
      return std::pair(time, number) > std::pair(other.time, other.number);
    }
  };

  // cluster.cc: time and nodes.
  void At(uint64_t delay_us, std::function<void()> run);
  // On a node, unless it has crashed by then; waits while it is paused.
  void On(Host* host, uint64_t delay_us, std::function<void()> run);
  void StepOnce();
  void Do(Host* host, const std::function<void()>& run);
  void Collect(Host* host);
  void ScheduleWork(Host* host);
  void Start(Host* host);
  void Crash(Host* host, CrashKind kind, uint64_t down_us);
  void Ended(Host* host, const std::string& why);
  void Ended(Host* host, const ProcessEnd& end);
  bool FailedByFault(const Host& host) const;
  void ScheduleTick(Host* host);
  void Maintain(Host* host);
  Host* HostOf(NodeId id);
  Host* Leader();
  bool IsMember(const Host& host) const;
  void Trace(const std::string& event) const;

  // network.cc
  void Send(raft::Message message);
  void Deliver(raft::Message message);
  uint64_t Latency();
  bool Reaches(NodeId from, NodeId to) const { return !cut_.contains({from, to}); }
  void SendSnapshot(Host* from, NodeId to);

  // faults.cc
  void ScheduleFaults();
  void Repeat(Fault fault, const std::function<void(Rng*)>& run);
  void Happened(Fault fault) { ++summary_.faults[static_cast<size_t>(fault)]; }
  Host* AnyUp(Rng* rng);
  bool PutAtRisk(Host* host);
  bool StopToDamage(Host* host, uint64_t down, Fault fault);
  void LoseTail(Rng* rng);
  void LoseTailOf(Host* host, bool put_back, uint64_t part, uint64_t down);
  void LoseTailWhenItMatters(Rng* rng);
  void Rot(Rng* rng);
  void FailDisk(Fault fault, Rng* rng);
  void Partition(Rng* rng);
  // The leader, if there is one, half of the time; else any node.
  Host* LeaderOrAny(Rng* rng);
  // Nobody hears it, and it hears nobody, for a while.
  void Isolate(Host* host, uint64_t for_us, Fault fault);
  // Cuts the links between these and the others.
  void Split(const std::set<NodeId>& side);
  // Links are whole again, in a manner of speaking.
  void Reconnect();
  void BeFlaky(Rng* rng);
  void ChangeMembership(Rng* rng);
  void ChangeSessionLimits(Rng* rng);
  Rng& RngOf(Fault fault) { return fault_rngs_[static_cast<size_t>(fault)]; }

  // clients.cc
  void StartClients();
  void NextOperation(Client* client);
  void Compact();
  void SendOperation(Client* client);
  void TakeOperation(Host* host, Client* client, uint64_t request);
  void TakeAnswer(Client* client, const Answer& answer);
  void EndOperation(Client* client);
  // Whether another try of what a client is at can't be applied a second time.
  bool MayRetry(const Client& client) const;

  // quiet.cc: after the faults.
  void Heal();
  void Converge();
  bool HasConverged();
  void CheckQuiet();
  void RestartAll(const Membership& members);

  const Plan plan_;
  const bool trace_;
  Rng rng_;
  std::vector<Rng> fault_rngs_;
  const Membership first_members_;
  Checker checker_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t now_ = 0;
  uint64_t last_event_ = 0;
  bool calm_ = false;  // the faults have stopped
  bool clients_stop_ = false;
  std::set<std::pair<NodeId, NodeId>> cut_;
  uint64_t isolate_us_ = 0;  // not 0: the next leader that takes a write is cut off for so long
  uint64_t flaky_until_ = 0;
  std::map<uint64_t, Client*> requests_;
  uint64_t last_request_ = 0;
  uint64_t last_value_ = 0;
  uint64_t last_snapshot_ = 0;
  int64_t answered_revision_ = 0;                    // the highest that a client has seen
  std::map<std::string, std::string> known_values_;  // what clients heard last of a key
  RunSummary summary_;
};

}  // namespace raftkv::sim
