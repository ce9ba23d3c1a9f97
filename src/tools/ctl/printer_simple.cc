#include <cstdio>

#include "tools/ctl/printer.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

std::string Join(const std::vector<std::string>& parts, const char* separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) out += (i == 0 ? "" : separator) + parts[i];
  return out;
}

template <typename Repeated>
std::string JoinRepeated(const Repeated& parts) {
  return Join({parts.begin(), parts.end()}, ",");
}

class SimplePrinter : public Printer {
 public:
  explicit SimplePrinter(const PrinterOptions& options) : options_(options) {}

  std::string Put(const etcdserverpb::PutResponse& response) override {
    return "OK\n" + (response.has_prev_kv() ? KeyValue(response.prev_kv()) : "");
  }

  std::string Get(const etcdserverpb::RangeResponse& response,
                  const etcdserverpb::RangeRequest& request) override {
    if (request.count_only()) return std::to_string(response.count()) + "\n";
    return KeyValues(response.kvs());
  }

  std::string Del(const etcdserverpb::DeleteRangeResponse& response) override {
    return std::to_string(response.deleted()) + "\n" + KeyValues(response.prev_kvs());
  }

  std::string Txn(const etcdserverpb::TxnResponse& response) override {
    std::string out = response.succeeded() ? "SUCCESS\n" : "FAILURE\n";
    for (const auto& op : response.responses()) {
      out += "\n";
      if (op.has_response_put()) out += Put(op.response_put());
      if (op.has_response_range()) out += KeyValues(op.response_range().kvs());
      if (op.has_response_delete_range()) out += Del(op.response_delete_range());
      if (op.has_response_txn()) out += Txn(op.response_txn());
    }
    return out;
  }

  std::string Compact(const etcdserverpb::CompactionResponse&, int64_t revision) override {
    return "compacted revision " + std::to_string(revision) + "\n";
  }

  std::string MemberList(const etcdserverpb::MemberListResponse& response) override {
    std::string out;
    for (const auto& member : response.members()) out += Join(MemberCells(member), ", ") + "\n";
    return out;
  }

  std::string Status(const std::vector<EndpointStatus>& endpoints) override {
    std::string out;
    for (const auto& endpoint : endpoints) out += Join(StatusCells(endpoint), ", ") + "\n";
    return out;
  }

  std::string Health(const std::vector<EndpointHealth>& endpoints) override {
    std::string out;
    for (const auto& endpoint : endpoints) {
      out += endpoint.endpoint;
      out += endpoint.healthy ? " is healthy: successfully committed proposal: took = " +
                                    DurationText(endpoint.took_us)
                              : " is unhealthy: failed to commit proposal: " + endpoint.error;
      out += "\n";
    }
    return out;
  }

  std::string MoveLeader(const etcdserverpb::MoveLeaderResponse&, uint64_t from,
                         uint64_t to) override {
    return "Leadership transferred from " + IdText(from) + " to " + IdText(to) + "\n";
  }

  std::string MemberAdd(const etcdserverpb::MemberAddResponse& response,
                        const std::vector<std::string>& flags) override {
    return MemberLine(response, response.member().id(), "added to") +
           "\nStart it, with an empty data directory:\n  raftkvd \\\n    " +
           Join(flags, " \\\n    ") + "\n";
  }
  std::string MemberRemove(const etcdserverpb::MemberRemoveResponse& response,
                           uint64_t id) override {
    return MemberLine(response, id, "removed from");
  }
  std::string MemberPromote(const etcdserverpb::MemberPromoteResponse& response,
                            uint64_t id) override {
    return MemberLine(response, id, "promoted in");
  }
  std::string MemberUpdate(const etcdserverpb::MemberUpdateResponse& response,
                           uint64_t id) override {
    return MemberLine(response, id, "updated in");
  }

  std::string Alarms(const etcdserverpb::AlarmResponse& response) override {
    std::string out;
    for (const auto& alarm : response.alarms()) {
      out += "memberID:" + IdText(alarm.memberid()) +
             " alarm:" + etcdserverpb::AlarmType_Name(alarm.alarm()) + "\n";
    }
    return out;
  }

  std::string Defragment(const etcdserverpb::DefragmentResponse&,
                         const std::string& endpoint) override {
    return "Finished defragmenting member[" + endpoint + "]\n";
  }

  std::string HashKv(const std::vector<EndpointHash>& endpoints) override {
    std::string out;
    for (const auto& endpoint : endpoints) {
      out += endpoint.endpoint + ", " + std::to_string(endpoint.response.hash()) + ", " +
             std::to_string(endpoint.revision) + "\n";
    }
    return out;
  }

  std::string SnapshotSaved(const SnapshotSummary&, const std::string& path) override {
    return "Snapshot saved at " + path + "\n";
  }
  std::string SnapshotStatus(const SnapshotSummary& snapshot) override {
    return Join(SnapshotCells(snapshot), ", ") + "\n";
  }

 private:
  template <typename Response>
  static std::string MemberLine(const Response& response, uint64_t id, const char* what) {
    return "Member " + IdText(id) + " " + what + " cluster " +
           IdText(response.header().cluster_id()) + "\n";
  }

  std::string Bytes(const std::string& bytes) const {
    return options_.hex ? HexEscape(bytes) : bytes;
  }

  std::string KeyValue(const mvccpb::KeyValue& kv) const {
    return (options_.value_only ? "" : Bytes(kv.key()) + "\n") + Bytes(kv.value()) + "\n";
  }

  template <typename Repeated>
  std::string KeyValues(const Repeated& kvs) const {
    std::string out;
    for (const auto& kv : kvs) out += KeyValue(kv);
    return out;
  }

  const PrinterOptions options_;
};

}  // namespace

std::unique_ptr<Printer> NewSimplePrinter(const PrinterOptions& options) {
  return std::make_unique<SimplePrinter>(options);
}

StatusOr<std::unique_ptr<Printer>> NewPrinter(const std::string& format,
                                              const PrinterOptions& options) {
  if (format == "simple") return NewSimplePrinter(options);
  if (format == "json") return NewJsonPrinter();
  if (format == "table") return NewTablePrinter(options);
  return raftkv::Status(Code::kInvalidArgument,
                        "unknown output format '" + format + "' (simple, json or table)");
}

std::vector<std::string> MemberCells(const etcdserverpb::Member& member) {
  // A member that was added and has not come up yet has not said its name.
  return {IdText(member.id()),
          member.name().empty() ? "unstarted" : "started",
          member.name(),
          JoinRepeated(member.peerurls()),
          JoinRepeated(member.clienturls()),
          member.islearner() ? "true" : "false"};
}

std::vector<std::string> StatusCells(const EndpointStatus& status) {
  const auto& r = status.response;
  return {status.endpoint,
          IdText(r.header().member_id()),
          r.version(),
          HumanBytes(static_cast<uint64_t>(r.dbsize())),
          r.leader() != 0 && r.leader() == r.header().member_id() ? "true" : "false",
          r.islearner() ? "true" : "false",
          std::to_string(r.raftterm()),
          std::to_string(r.raftindex()),
          std::to_string(r.raftappliedindex()),
          JoinRepeated(r.errors())};
}

std::vector<std::string> SnapshotCells(const SnapshotSummary& snapshot) {
  return {Hex(snapshot.digest.substr(0, 4)), std::to_string(snapshot.revision),
          std::to_string(snapshot.keys),     HumanBytes(snapshot.bytes),
          std::to_string(snapshot.records),  IdText(snapshot.cluster_id)};
}

std::string DurationText(uint64_t microseconds) {
  char text[48];
  if (microseconds >= 1'000'000) {
    std::snprintf(text, sizeof(text), "%.6gs", static_cast<double>(microseconds) / 1e6);
  } else {
    std::snprintf(text, sizeof(text), "%.6gms", static_cast<double>(microseconds) / 1e3);
  }
  return text;
}

}  // namespace raftkv::tools::ctl
