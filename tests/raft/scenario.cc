#include "raft/scenario.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <variant>

namespace raftkv::raft {
namespace {

std::string Str(uint64_t value) { return std::to_string(value); }
template <typename Tag>
std::string Str(StrongInt<Tag> value) {
  return Str(value.value());
}
std::string Str(LogPosition position) {
  return "(" + Str(position.index) + "," + Str(position.term) + ")";
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

// "5@3" or, with a payload, "5@3=text".
std::string Str(const Entry& entry) {
  if (entry.kind == EntryKind::kConfig) {
    return Str(entry.index) + "@" + Str(entry.term) + "=config";
  }
  const std::string text(entry.bytes());
  return Str(entry.index) + "@" + Str(entry.term) + (text.empty() ? "" : "=" + text);
}

template <typename Entries>
std::string StrEntries(const Entries& entries) {
  std::vector<std::string> words;
  for (const Entry& entry : entries) words.push_back(Str(entry));
  return "[" + Join(words) + "]";
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

}  // namespace

// Words after the command; those with "=" are options.
struct Scenario::Args {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  uint64_t Option(const std::string& name, uint64_t otherwise) const {
    const auto it = options.find(name);
    return it == options.end() ? otherwise : std::stoull(it->second);
  }
  bool Has(const std::string& word) const {
    return std::find(words.begin(), words.end(), word) != words.end();
  }
};

std::string Scenario::Run(const std::string& line) {
  static const std::map<std::string, Handler> kHandlers = {
      {"cluster", &Scenario::Cluster},   {"disk", &Scenario::Disk},
      {"start", &Scenario::Start},       {"crash", &Scenario::Crash},
      {"lose", &Scenario::Lose},         {"tick", &Scenario::Tick},
      {"campaign", &Scenario::Campaign}, {"propose", &Scenario::Propose},
      {"read", &Scenario::Read},         {"transfer", &Scenario::Transfer},
      {"sync", &Scenario::Sync},         {"report", &Scenario::Report},
      {"apply", &Scenario::Apply},       {"deliver", &Scenario::Deliver},
      {"drop", &Scenario::Drop},         {"copy", &Scenario::Copy},
      {"cut", &Scenario::Cut},           {"heal", &Scenario::Heal},
      {"settle", &Scenario::Settle},     {"net", &Scenario::Net},
      {"status", &Scenario::Status},     {"log", &Scenario::Log},
      {"disklog", &Scenario::DiskLog},   {"peers", &Scenario::Peers},
      {"lead", &Scenario::Lead},         {"config", &Scenario::Config},
      {"trim", &Scenario::Trim},         {"snapshot", &Scenario::Snapshot},
  };
  out_.clear();
  std::vector<std::string> words = Split(line, ' ');
  const auto handler = kHandlers.find(words.empty() ? "" : words.front());
  if (handler == kHandlers.end()) return "error: no such command\n";
  Args args;
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos) {
      args.words.push_back(words[i]);
    } else {
      args.options[words[i].substr(0, equals)] = words[i].substr(equals + 1);
    }
  }
  try {
    (this->*handler->second)(args);
  } catch (const std::exception& error) {
    return "error: " + std::string(error.what()) + "\n";
  }
  for (const auto& [id, node] : nodes_) {
    if (node->up()) node->core().CheckInvariants();
  }
  return out_;
}

SimNode& Scenario::Node(const Args& args, size_t position) {
  if (position >= args.words.size()) throw std::invalid_argument("which node?");
  const auto it = nodes_.find(NodeId(std::stoull(args.words[position])));
  if (it == nodes_.end()) throw std::invalid_argument("no such node");
  return *it->second;
}

// --- Nodes ------------------------------------------------------------------------------------

void Scenario::Cluster(const Args& args) {
  if (args.words.empty()) throw std::invalid_argument("how many?");
  const uint64_t count = std::stoull(args.words[0]);
  Options options;
  options.election_ticks = static_cast<uint32_t>(args.Option("election", 10));
  options.heartbeat_ticks = static_cast<uint32_t>(args.Option("heartbeat", 1));
  options.append_entries_max = args.Option("append-entries", options.append_entries_max);
  options.inflight_messages_max =
      static_cast<uint32_t>(args.Option("inflight", options.inflight_messages_max));
  options.pending_bytes_max = args.Option("pending", options.pending_bytes_max);
  options.apply_bytes_max = args.Option("apply-bytes", options.apply_bytes_max);
  options.cache_bytes_max = args.Option("cache", options.cache_bytes_max);
  Membership membership;
  for (uint64_t i = 1; i <= count; ++i) membership.voters.insert(NodeId(i));
  *this = Scenario();
  for (uint64_t i = 1; i <= count + args.Option("spares", 0); ++i) {
    const NodeId id = options.id = NodeId(i);
    nodes_[id] =
        std::make_unique<SimNode>(options, SimDisk(i <= count ? membership : Membership()));
    nodes_[id]->Start(Index(), id.value());
  }
}

void Scenario::Disk(const Args& args) {
  SimNode& node = Node(args);
  if (node.up()) throw std::invalid_argument("crash it first");
  std::vector<Term> terms;
  if (args.options.contains("log")) {
    for (const std::string& run : Split(args.options.at("log"), ',')) {
      const auto parts = Split(run, '*');
      const uint64_t count = parts.size() > 1 ? std::stoull(parts[1]) : 1;
      terms.insert(terms.end(), count, Term(std::stoull(parts.at(0))));
    }
  }
  LogPosition start;
  if (args.options.contains("start")) {
    const auto parts = Split(args.options.at("start"), ',');
    start = {Index(std::stoull(parts.at(0))), Term(std::stoull(parts.at(1)))};
  }
  node.disk().SetLog({Term(args.Option("term", terms.empty() ? 0 : terms.back().value())),
                      NodeId(args.Option("vote", 0)), Index(args.Option("commit", 0))},
                     start, terms);
}

void Scenario::Start(const Args& args) {
  SimNode& node = Node(args);
  if (node.up()) throw std::invalid_argument("it is up");
  const Index applied(args.Option("applied", node.disk().start().index.value()));
  node.Start(applied, node.id().value() + 100 * ++starts_[node.id()]);
  Collect(node);
}

void Scenario::Crash(const Args& args) { Node(args).Crash(args.Option("keep", 0)); }

void Scenario::Lose(const Args& args) {
  SimDisk& disk = Node(args).disk();
  disk.Lose(Index(std::stoull(args.words[1])), Index(args.Option("noted", disk.last().value())));
  if (args.Has("forget")) disk.Forget();
}

void Scenario::Tick(const Args& args) {
  SimNode& node = Node(args);
  const uint64_t ticks = args.words.size() > 1 ? std::stoull(args.words[1]) : 1;
  terse_ = args.Has("quietly");
  for (uint64_t i = 0; i < ticks; ++i) {
    node.core().Tick();
    Collect(node);
  }
  terse_ = false;
}

void Scenario::Lead(const Args& args) {
  terse_ = true;
  Campaign(args);
  Settle(args);
  out_.clear();
  if (Node(args).core().role() != Role::kLeader) throw std::logic_error("it does not lead");
}

void Scenario::Campaign(const Args& args) {
  Node(args).core().Campaign();
  Collect(Node(args));
}

void Scenario::Propose(const Args& args) {
  SimNode& node = Node(args);
  std::vector<Payload> payloads;
  for (size_t i = 1; i < args.words.size(); ++i) {
    payloads.push_back(std::make_shared<const std::string>(args.words[i]));
  }
  const StatusOr<LogPosition> first = node.core().Propose(payloads);
  Print(first.ok() ? "proposed at " + Str(*first) : first.status().ToString());
  Collect(node);
}

void Scenario::Read(const Args& args) {
  SimNode& node = Node(args);
  const StatusOr<ReadToken> token = node.core().ReadIndex();
  Print(token.ok() ? "read " + Str(*token) : token.status().ToString());
  Collect(node);
}

void Scenario::Transfer(const Args& args) {
  SimNode& node = Node(args);
  const NodeId target(args.words.size() > 1 ? std::stoull(args.words[1]) : 0);
  const raftkv::Status status = node.core().TransferLeadership(target);
  Print(status.ok() ? "transferring to " + Str(node.core().transfer_target()) : status.ToString());
  Collect(node);
}

void Scenario::Config(const Args& args) {
  SimNode& node = Node(args);
  const auto ids = [&](const std::string& name) {
    std::set<NodeId> out;
    const auto option = args.options.find(name);
    if (option == args.options.end()) return out;
    for (const std::string& id : Split(option->second, ',')) out.insert(NodeId(std::stoull(id)));
    return out;
  };
  Membership target;
  target.voters = ids("voters");
  target.learners = ids("learners");
  const StatusOr<LogPosition> position = node.core().ProposeConfig(target);
  Print(position.ok() ? "proposed at " + Str(*position) : position.status().ToString());
  Collect(node);
}

void Scenario::Trim(const Args& args) {
  Node(args).core().CutLog(Index(std::stoull(args.words.at(1))));
  Collect(Node(args));
}

// The configuration of the snapshot is the sender's in force: scenarios send none while it changes.
void Scenario::Snapshot(const Args& args) {
  const size_t arrow = args.words.at(0).find("->");
  SimNode& from = *nodes_.at(NodeId(std::stoull(args.words[0].substr(0, arrow))));
  SimNode& to = *nodes_.at(NodeId(std::stoull(args.words[0].substr(arrow + 2))));
  const Index last = from.applied_index();
  if (args.Has("lost")) {
    from.core().OnSnapshotSent(to.id(), Index());
  } else {
    const SnapshotMeta snapshot{{last, from.core().log().TermAt(last).value()},
                                from.core().membership(),
                                args.Option("id", 1)};
    to.core().Step({from.id(), to.id(), from.core().term(), InstallSnapshot{snapshot}});
    const auto& installing = to.core().installing();
    Print("snapshot of " + Str(snapshot.last) +
          (installing && installing->id == snapshot.id ? " taken" : " not taken"));
    Collect(to);
    from.core().OnSnapshotSent(to.id(), last);
  }
  Collect(from);
}

// --- Disks ------------------------------------------------------------------------------------

void Scenario::Sync(const Args& args) {
  SimNode& node = Node(args);
  const bool silent = args.Has("silent");
  size_t count = node.disk().unsynced();
  if (args.words.size() > (silent ? 2u : 1u)) count = std::min(count, std::stoul(args.words[1]));
  for (size_t i = 0; i < count; ++i) Post(node.SyncNext());
  if (!silent) Report(args);
}

void Scenario::Report(const Args& args) {
  SimNode& node = Node(args);
  if (!node.HasSynced()) return;
  node.ReportSynced();
  Collect(node);
}

void Scenario::Apply(const Args& args) {
  SimNode& node = Node(args);
  while (node.HasApply()) {
    node.ApplyNext();
    Collect(node);
  }
}

// --- The network ------------------------------------------------------------------------------

void Scenario::Post(const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    const bool lost = cut_.contains({message.from, message.to});
    if (!terse_) Print("  send " + Show(message) + (lost ? " (lost)" : ""));
    if (!lost) network_.push_back(message);
  }
}

std::vector<Message> Scenario::Select(const Args& args) {
  if (args.words.empty()) throw std::invalid_argument("which link?");
  const size_t arrow = args.words[0].find("->");
  if (arrow == std::string::npos) throw std::invalid_argument("a link is FROM->TO");
  const std::string from = args.words[0].substr(0, arrow);
  const std::string to = args.words[0].substr(arrow + 2);
  std::string kind = args.words.size() > 1 ? args.words[1] : "";
  if (kind == "first" || kind == "last") kind.clear();
  const auto selected = [&](const Message& message) {
    if (from != "*" && from != Str(message.from)) return false;
    if (to != "*" && to != Str(message.to)) return false;
    const auto words = Split(ToString(message), ' ');  // "1->2 t3 Append ..."
    return kind.empty() || words.at(2) == kind;
  };
  std::vector<size_t> places;
  for (size_t i = 0; i < network_.size(); ++i) {
    if (selected(network_[i])) places.push_back(i);
  }
  if (args.Has("first") && places.size() > 1) places.resize(1);
  if (args.Has("last") && places.size() > 1) places.erase(places.begin(), places.end() - 1);
  std::vector<Message> messages;
  for (const size_t place : places) messages.push_back(network_[place]);
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    network_.erase(network_.begin() + static_cast<ptrdiff_t>(*place));
  }
  if (messages.empty()) throw std::invalid_argument("no such message");
  return messages;
}

void Scenario::DeliverOne(Message message) {
  SimNode& node = *nodes_.at(message.to);
  if (!terse_) Print("deliver " + Show(message) + (node.up() ? "" : " (down)"));
  if (!node.up()) return;
  node.core().Step(std::move(message));
  Collect(node);
}

void Scenario::Deliver(const Args& args) {
  for (Message& message : Select(args)) DeliverOne(std::move(message));
}

void Scenario::Drop(const Args& args) {
  for (const Message& message : Select(args)) Print("drop " + Show(message));
}

void Scenario::Copy(const Args& args) {
  for (const Message& message : Select(args)) {
    Print("copy " + Show(message));
    network_.push_back(message);
    network_.push_back(message);
  }
}

void Scenario::Cut(const Args& args) {
  const size_t arrow = args.words.at(0).find("->");
  const std::string from = args.words[0].substr(0, arrow);
  const std::string to = args.words[0].substr(arrow + 2);
  for (const auto& [a, node_a] : nodes_) {
    for (const auto& [b, node_b] : nodes_) {
      if ((from == "*" || from == Str(a)) && (to == "*" || to == Str(b))) cut_.insert({a, b});
    }
  }
}

void Scenario::Heal(const Args&) { cut_.clear(); }

void Scenario::Settle(const Args&) {
  terse_ = true;
  constexpr int kRoundsMax = 1000;
  bool busy = true;
  for (int round = 0; busy && round < kRoundsMax; ++round) {
    busy = false;
    while (!network_.empty()) {
      busy = true;
      Message message = std::move(network_.front());
      network_.pop_front();
      DeliverOne(std::move(message));
    }
    for (const auto& [id, node] : nodes_) {
      if (!node->up()) continue;
      while (node->disk().unsynced() > 0) {
        busy = true;
        Post(node->SyncNext());
      }
      if (node->HasSynced()) {
        node->ReportSynced();
        Collect(*node);
      }
      while (node->HasApply()) {
        busy = true;
        node->ApplyNext();
        Collect(*node);
      }
    }
  }
  terse_ = false;
  if (busy) Print("error: it never settles");
}

// --- Output -----------------------------------------------------------------------------------

void Scenario::Collect(SimNode& node) {
  while (node.core().HasOutput()) {
    const Output output = node.Collect();
    PrintOutput(node.id(), output);
    Post(output.send);
  }
}

void Scenario::PrintOutput(NodeId id, const Output& output) {
  const std::string prefix = "  " + Str(id) + " ";
  if (output.role) {
    Print(prefix + std::string(RoleName(output.role->role)) + " in term " + Str(output.role->term) +
          (output.role->leader.none() ? "" : ", leader " + Str(output.role->leader)));
  }
  for (const ReadReady& read : output.reads) {
    Print(prefix + "read " + Str(read.token) + " at " + Str(read.index));
  }
  for (const ReadToken token : output.failed_reads)
    Print(prefix + "read " + Str(token) + " failed");
  for (const LogPosition& position : output.dropped) Print(prefix + "dropped " + Str(position));
  if (output.membership) Print(prefix + "configuration " + ToString(*output.membership));
  for (const NodeId to : output.snapshots_wanted) {
    Print(prefix + "wants a snapshot sent to " + Str(to));
  }
  if (terse_) return;
  if (output.append) {
    const AppendTask& task = *output.append;
    std::string line = prefix + "write";
    if (task.hard_state) {
      line += " term=" + Str(task.hard_state->term) + " vote=" + Str(task.hard_state->vote) +
              " commit=" + Str(task.hard_state->commit);
    }
    if (task.install) {
      line += " install=" + Str(task.install->last) + " " + ToString(task.install->membership);
    }
    if (task.cut) {
      line += " cut=" + Str(task.cut->before_first) + " " + ToString(task.cut->membership);
    }
    if (task.owed != AckBounds{}) {
      line += " owes=" + Str(task.owed.at_least) + ".." + Str(task.owed.at_most);
    }
    if (!task.truncate_from.none()) line += " truncate=" + Str(task.truncate_from);
    if (!task.entries.empty()) line += " " + StrEntries(task.entries);
    Print(line);
    for (const Message& message : task.after_sync) Print("    then " + Show(message));
  }
  if (output.install) Print(prefix + "install " + Str(output.install->last));
  if (output.apply) Print(prefix + "apply " + StrEntries(output.apply->entries));
}

std::string Scenario::Show(Message message) {
  const auto rename = [this](uint64_t* token) {
    *token = request_names_.emplace(*token, request_names_.size() + 1).first->second;
  };
  if (auto* request = std::get_if<ReadIndexRequest>(&message.body)) rename(&request->token);
  if (auto* response = std::get_if<ReadIndexResponse>(&message.body)) rename(&response->token);
  return ToString(message);
}

void Scenario::Net(const Args&) {
  for (const Message& message : network_) Print(Show(message));
}

void Scenario::Status(const Args& args) {
  for (const auto& [id, node] : nodes_) {
    if (!args.words.empty() && !args.Has(Str(id))) continue;
    if (!node->up()) {
      Print(Str(id) + " down");
      continue;
    }
    const Core& core = node->core();
    Print(Str(id) + " " + std::string(RoleName(core.role())) + " term=" + Str(core.term()) +
          " vote=" + Str(core.vote()) + " leader=" + Str(core.leader()) +
          " commit=" + Str(core.commit()) + " applied=" + Str(core.applied()) +
          " durable=" + Str(core.durable_index()) + " last=" + Str(core.log().last_position()) +
          (core.acknowledged().lost() ? " lost" : ""));
  }
}

void Scenario::Log(const Args& args) {
  const Core& core = Node(args).core();
  std::vector<Entry> entries;
  while (core.first_index() + entries.size() <= core.last_index()) {
    core.log().Read(core.first_index() + entries.size(), core.last_index(), UINT64_MAX, UINT64_MAX,
                    &entries);
  }
  Print(StrEntries(entries));
}

void Scenario::DiskLog(const Args& args) {
  const SimDisk& disk = Node(args).disk();
  std::vector<Entry> entries;
  for (const auto& [index, entry] : disk.entries()) entries.push_back(entry);
  Print("term=" + Str(disk.hard_state().term) + " vote=" + Str(disk.hard_state().vote) +
        " commit=" + Str(disk.hard_state().commit) + " " + StrEntries(entries) +
        " unsynced writes: " + Str(disk.unsynced()));
}

void Scenario::Peers(const Args& args) {
  for (const PeerStatus& peer : Node(args).core().Peers()) {
    Print(Str(peer.id) + " " + std::string(peer.state) + " match=" + Str(peer.match) +
          " next=" + Str(peer.next) + (peer.contact == Contact::kHeard ? " active" : ""));
  }
}

}  // namespace raftkv::raft
