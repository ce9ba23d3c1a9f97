#include "raft/message.h"

namespace raftkv::raft {
namespace {

std::string Str(LogPosition position) {
  return "(" + std::to_string(position.index.value()) + "," +
         std::to_string(position.term.value()) + ")";
}

std::string Str(Index index) { return std::to_string(index.value()); }

// "[5@3 6..9@4]": stretches of one term are drawn together.
std::string Str(const std::vector<Entry>& entries) {
  std::string out = "[";
  for (size_t i = 0; i < entries.size();) {
    size_t end = i + 1;
    while (end < entries.size() && entries[end].term == entries[i].term) ++end;
    if (i > 0) out += ' ';
    out += Str(entries[i].index);
    if (end > i + 1) out += ".." + Str(entries[end - 1].index);
    out += "@" + std::to_string(entries[i].term.value());
    i = end;
  }
  return out + "]";
}

struct BodyPrinter {
  std::string operator()(const VoteRequest& m) const {
    return std::string(m.pre_vote ? "PreVote" : "Vote") + " last=" + Str(m.last) +
           (m.leadership_transfer ? " transfer" : "");
  }
  std::string operator()(const VoteResponse& m) const {
    return std::string(m.pre_vote ? "PreVoteResponse" : "VoteResponse") +
           (m.granted ? " granted" : " refused");
  }
  std::string operator()(const AppendRequest& m) const {
    return "Append prev=" + Str(m.previous) + " commit=" + Str(m.commit) + " " + Str(m.entries);
  }
  std::string operator()(const AppendResponse& m) const {
    if (!m.rejected) return "AppendResponse match=" + Str(m.match);
    return "AppendResponse rejected prev=" + Str(m.rejected_previous) + " hint=" + Str(m.hint);
  }
  std::string operator()(const Heartbeat& m) const {
    return "Heartbeat commit=" + Str(m.commit) + " round=" + std::to_string(m.read_round);
  }
  std::string operator()(const HeartbeatResponse& m) const {
    return "HeartbeatResponse round=" + std::to_string(m.read_round);
  }
  std::string operator()(const TimeoutNow&) const { return "TimeoutNow"; }
  std::string operator()(const ReadIndexRequest& m) const {
    return "ReadIndex token=" + std::to_string(m.token);
  }
  std::string operator()(const ReadIndexResponse& m) const {
    return "ReadIndexResponse token=" + std::to_string(m.token) +
           (m.index.none() ? std::string(" refused") : " index=" + Str(m.index));
  }
  std::string operator()(const InstallSnapshot& m) const {
    return "InstallSnapshot last=" + Str(m.snapshot.last);
  }
};

}  // namespace

std::string ToString(const Message& message) {
  return std::to_string(message.from.value()) + "->" + std::to_string(message.to.value()) + " t" +
         std::to_string(message.term.value()) + " " + std::visit(BodyPrinter{}, message.body);
}

}  // namespace raftkv::raft
