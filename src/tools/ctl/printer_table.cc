#include <algorithm>

#include "tools/ctl/printer.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

using Row = std::vector<std::string>;

// A frame of +, - and |, headings in the middle and cells to the right, as etcdctl draws it.
std::string Table(const Row& headings, const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (size_t column = 0; column < headings.size(); ++column) {
    size_t width = headings[column].size();
    for (const Row& row : rows) width = std::max(width, row[column].size());
    widths.push_back(width);
  }
  std::string rule = "+";
  for (const size_t width : widths) rule += std::string(width + 2, '-') + "+";
  rule += "\n";
  std::string out = rule + "|";
  for (size_t column = 0; column < headings.size(); ++column) {
    const size_t padding = widths[column] - headings[column].size();
    out += std::string(padding / 2 + 1, ' ') + headings[column] +
           std::string(padding - padding / 2 + 1, ' ') + "|";
  }
  out += "\n" + rule;
  for (const Row& row : rows) {
    out += "|";
    for (size_t column = 0; column < row.size(); ++column) {
      out += std::string(widths[column] - row[column].size() + 1, ' ') + row[column] + " |";
    }
    out += "\n";
  }
  return out + rule;
}

class TablePrinter : public Printer {
 public:
  explicit TablePrinter(const PrinterOptions& options) : simple_(NewSimplePrinter(options)) {}

  std::string Get(const etcdserverpb::RangeResponse& response,
                  const etcdserverpb::RangeRequest& request) override {
    if (request.count_only()) return Table({"COUNT"}, {{std::to_string(response.count())}});
    std::vector<Row> rows;
    for (const auto& kv : response.kvs()) {
      rows.push_back({EscapeText(kv.key()), EscapeText(kv.value()),
                      std::to_string(kv.create_revision()), std::to_string(kv.mod_revision()),
                      std::to_string(kv.version()), IdText(static_cast<uint64_t>(kv.lease()))});
    }
    return Table({"KEY", "VALUE", "CREATE REVISION", "MOD REVISION", "VERSION", "LEASE"}, rows);
  }

  std::string MemberList(const etcdserverpb::MemberListResponse& response) override {
    std::vector<Row> rows;
    for (const auto& member : response.members()) rows.push_back(MemberCells(member));
    return Table({"ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"}, rows);
  }

  std::string Status(const std::vector<EndpointStatus>& endpoints) override {
    std::vector<Row> rows;
    for (const auto& endpoint : endpoints) rows.push_back(StatusCells(endpoint));
    return Table({"ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER", "RAFT TERM",
                  "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS"},
                 rows);
  }

  std::string Health(const std::vector<EndpointHealth>& endpoints) override {
    std::vector<Row> rows;
    for (const auto& endpoint : endpoints) {
      rows.push_back({endpoint.endpoint, endpoint.healthy ? "true" : "false",
                      DurationText(endpoint.took_us), endpoint.error});
    }
    return Table({"ENDPOINT", "HEALTH", "TOOK", "ERROR"}, rows);
  }

  std::string Put(const etcdserverpb::PutResponse& response) override {
    return simple_->Put(response);
  }
  std::string Del(const etcdserverpb::DeleteRangeResponse& response) override {
    return simple_->Del(response);
  }
  std::string Txn(const etcdserverpb::TxnResponse& response) override {
    return simple_->Txn(response);
  }
  std::string Compact(const etcdserverpb::CompactionResponse& response, int64_t revision) override {
    return simple_->Compact(response, revision);
  }
  std::string MoveLeader(const etcdserverpb::MoveLeaderResponse& response, uint64_t from,
                         uint64_t to) override {
    return simple_->MoveLeader(response, from, to);
  }
  std::string MemberAdd(const etcdserverpb::MemberAddResponse& response,
                        const std::vector<std::string>& flags) override {
    return simple_->MemberAdd(response, flags);
  }
  std::string MemberRemove(const etcdserverpb::MemberRemoveResponse& response,
                           uint64_t id) override {
    return simple_->MemberRemove(response, id);
  }
  std::string MemberPromote(const etcdserverpb::MemberPromoteResponse& response,
                            uint64_t id) override {
    return simple_->MemberPromote(response, id);
  }
  std::string MemberUpdate(const etcdserverpb::MemberUpdateResponse& response,
                           uint64_t id) override {
    return simple_->MemberUpdate(response, id);
  }
  std::string Alarms(const etcdserverpb::AlarmResponse& response) override {
    return simple_->Alarms(response);
  }
  std::string Defragment(const etcdserverpb::DefragmentResponse& response,
                         const std::string& endpoint) override {
    return simple_->Defragment(response, endpoint);
  }
  std::string SnapshotSaved(const SnapshotSummary& snapshot, const std::string& path) override {
    return simple_->SnapshotSaved(snapshot, path);
  }

  std::string HashKv(const std::vector<EndpointHash>& endpoints) override {
    std::vector<Row> rows;
    for (const auto& endpoint : endpoints) {
      rows.push_back({endpoint.endpoint, std::to_string(endpoint.response.hash()),
                      std::to_string(endpoint.revision)});
    }
    return Table({"ENDPOINT", "HASH", "HASH REVISION"}, rows);
  }

  std::string SnapshotStatus(const SnapshotSummary& snapshot) override {
    return Table({"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "RECORDS", "CLUSTER"},
                 {SnapshotCells(snapshot)});
  }

 private:
  const std::unique_ptr<Printer> simple_;
};

}  // namespace

std::unique_ptr<Printer> NewTablePrinter(const PrinterOptions& options) {
  return std::make_unique<TablePrinter>(options);
}

}  // namespace raftkv::tools::ctl
