// How raftkvctl shows answers. simple and json are etcdctl's formats (json with the field names of
// etcd 3.5 and later), so that scripts carry over.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "rpc.pb.h"

namespace raftkv::tools::ctl {

// One endpoint's answer to `status`.
struct EndpointStatus {
  std::string endpoint;
  etcdserverpb::StatusResponse response;
};

// One endpoint's answer to `health`.
struct EndpointHealth {
  std::string endpoint;
  bool healthy = false;
  uint64_t took_us = 0;
  std::string error;
};

// One endpoint's answer to `hashkv`, and the revision that was asked for.
struct EndpointHash {
  std::string endpoint;
  int64_t revision = 0;
  etcdserverpb::HashKVResponse response;
};

// What a snapshot file was found to hold.
struct SnapshotSummary {
  uint64_t cluster_id = 0;
  int64_t revision = 0;
  uint64_t keys = 0;
  uint64_t records = 0;
  uint64_t bytes = 0;
  std::string digest;  // SHA-256, raw
};

// Each function returns the whole text to print, newline included.
class Printer {
 public:
  virtual ~Printer() = default;
  virtual std::string Put(const etcdserverpb::PutResponse& response) = 0;
  virtual std::string Get(const etcdserverpb::RangeResponse& response,
                          const etcdserverpb::RangeRequest& request) = 0;
  virtual std::string Del(const etcdserverpb::DeleteRangeResponse& response) = 0;
  virtual std::string Txn(const etcdserverpb::TxnResponse& response) = 0;
  virtual std::string Compact(const etcdserverpb::CompactionResponse& response,
                              int64_t revision) = 0;
  virtual std::string MemberList(const etcdserverpb::MemberListResponse& response) = 0;
  virtual std::string Status(const std::vector<EndpointStatus>& endpoints) = 0;
  virtual std::string Health(const std::vector<EndpointHealth>& endpoints) = 0;
  virtual std::string MoveLeader(const etcdserverpb::MoveLeaderResponse& response, uint64_t from,
                                 uint64_t to) = 0;
  // `flags` start the new member.
  virtual std::string MemberAdd(const etcdserverpb::MemberAddResponse& response,
                                const std::vector<std::string>& flags) = 0;
  virtual std::string MemberRemove(const etcdserverpb::MemberRemoveResponse& response,
                                   uint64_t id) = 0;
  virtual std::string MemberPromote(const etcdserverpb::MemberPromoteResponse& response,
                                    uint64_t id) = 0;
  virtual std::string MemberUpdate(const etcdserverpb::MemberUpdateResponse& response,
                                   uint64_t id) = 0;
  virtual std::string Alarms(const etcdserverpb::AlarmResponse& response) = 0;
  virtual std::string Defragment(const etcdserverpb::DefragmentResponse& response,
                                 const std::string& endpoint) = 0;
  virtual std::string HashKv(const std::vector<EndpointHash>& endpoints) = 0;
  virtual std::string SnapshotSaved(const SnapshotSummary& snapshot, const std::string& path) = 0;
  virtual std::string SnapshotStatus(const SnapshotSummary& snapshot) = 0;
};

struct PrinterOptions {
  bool hex = false;         // byte strings as \xNN (simple)
  bool value_only = false;  // values without keys (simple)
};

// kInvalidArgument for an unknown `format`.
StatusOr<std::unique_ptr<Printer>> NewPrinter(const std::string& format,
                                              const PrinterOptions& options);

std::unique_ptr<Printer> NewSimplePrinter(const PrinterOptions& options);
std::unique_ptr<Printer> NewJsonPrinter();
// Where etcdctl has no table (changes of all kinds, alarms) it prints as simple does.
std::unique_ptr<Printer> NewTablePrinter(const PrinterOptions& options);

// Rows of cells that several formats share.
std::vector<std::string> MemberCells(const etcdserverpb::Member& member);
std::vector<std::string> StatusCells(const EndpointStatus& status);
std::vector<std::string> SnapshotCells(const SnapshotSummary& snapshot);
// A duration as Go prints it: 1.388ms.
std::string DurationText(uint64_t microseconds);

}  // namespace raftkv::tools::ctl
