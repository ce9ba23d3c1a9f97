#include "tools/ctl/commands.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "tools/ctl/call.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::KV;
using etcdserverpb::Maintenance;

bool IsReadOnly(const etcdserverpb::TxnRequest& request) {
  const auto reads = [](const etcdserverpb::RequestOp& op) { return op.has_request_range(); };
  return std::all_of(request.success().begin(), request.success().end(), reads) &&
         std::all_of(request.failure().begin(), request.failure().end(), reads);
}

// The endpoint of the node that says it leads, and its id.
struct Leader {
  std::string endpoint;
  uint64_t id = 0;
};

std::optional<Leader> FindLeader(Client* client, const std::vector<std::string>& endpoints) {
  const etcdserverpb::StatusRequest request;
  for (const std::string& endpoint : endpoints) {
    etcdserverpb::StatusResponse response;
    const CallResult result =
        client->Probe(endpoint, Bind<Maintenance>(&Maintenance::Stub::Status, request, &response));
    if (result.verdict != Verdict::kDone) continue;
    if (response.leader() != 0 && response.leader() == response.header().member_id()) {
      return Leader{endpoint, response.leader()};
    }
  }
  return std::nullopt;
}

}  // namespace

int RunPut(Client* client, const Output& output, const etcdserverpb::PutRequest& request) {
  etcdserverpb::PutResponse response;
  const CallResult result = client->Write(Bind<KV>(&KV::Stub::Put, request, &response));
  if (const int code = Report(result, "put", output); code != kExitOk) return code;
  *output.out << output.printer->Put(response);
  return kExitOk;
}

int RunGet(Client* client, const Output& output, const etcdserverpb::RangeRequest& request) {
  etcdserverpb::RangeResponse response;
  const CallResult result = client->Read(Bind<KV>(&KV::Stub::Range, request, &response));
  if (const int code = Report(result, "get", output); code != kExitOk) return code;
  *output.out << output.printer->Get(response, request);
  return kExitOk;
}

int RunDel(Client* client, const Output& output, const etcdserverpb::DeleteRangeRequest& request) {
  etcdserverpb::DeleteRangeResponse response;
  const CallResult result = client->Write(Bind<KV>(&KV::Stub::DeleteRange, request, &response));
  if (const int code = Report(result, "del", output); code != kExitOk) return code;
  *output.out << output.printer->Del(response);
  return kExitOk;
}

int RunTxn(Client* client, const Output& output, const etcdserverpb::TxnRequest& request) {
  etcdserverpb::TxnResponse response;
  const auto rpc = Bind<KV>(&KV::Stub::Txn, request, &response);
  const CallResult result = IsReadOnly(request) ? client->Read(rpc) : client->Write(rpc);
  if (const int code = Report(result, "txn", output); code != kExitOk) return code;
  *output.out << output.printer->Txn(response);
  return kExitOk;
}

int RunCompact(Client* client, const Output& output,
               const etcdserverpb::CompactionRequest& request) {
  etcdserverpb::CompactionResponse response;
  const CallResult result = client->Write(Bind<KV>(&KV::Stub::Compact, request, &response));
  if (const int code = Report(result, "compact", output); code != kExitOk) return code;
  *output.out << output.printer->Compact(response, request.revision());
  return kExitOk;
}

int RunMemberList(Client* client, const Output& output) {
  etcdserverpb::MemberListResponse response;
  const CallResult result = ListMembers(client, &response);
  if (const int code = Report(result, "member list", output); code != kExitOk) return code;
  *output.out << output.printer->MemberList(response);
  return kExitOk;
}

int RunStatus(Client* client, const Output& output, bool cluster) {
  const std::vector<std::string> endpoints = ChooseEndpoints(client, output, cluster, "status");
  int code = endpoints.empty() ? kExitFailed : kExitOk;
  std::vector<EndpointStatus> answers;
  const etcdserverpb::StatusRequest request;
  for (const std::string& endpoint : endpoints) {
    EndpointStatus answer{endpoint, {}};
    const CallResult result = client->Probe(
        endpoint, Bind<Maintenance>(&Maintenance::Stub::Status, request, &answer.response));
    if (result.verdict == Verdict::kDone) {
      answers.push_back(std::move(answer));
    } else {
      *output.err << "raftkvctl: status: " << endpoint << ": " << result.error << "\n";
      code = kExitFailed;
    }
  }
  if (!answers.empty()) *output.out << output.printer->Status(answers);
  return code;
}

int RunHealth(Client* client, const Output& output, bool cluster) {
  const std::vector<std::string> endpoints = ChooseEndpoints(client, output, cluster, "health");
  int code = endpoints.empty() ? kExitFailed : kExitOk;
  std::vector<EndpointHealth> answers;
  // Healthy is a node through which a linearizable read gets an answer: it then reaches a leader,
  // which reaches a majority. Which key is of no matter.
  etcdserverpb::RangeRequest request;
  request.set_key("health");
  for (const std::string& endpoint : endpoints) {
    etcdserverpb::RangeResponse response;
    const auto start = std::chrono::steady_clock::now();
    const CallResult result =
        client->Probe(endpoint, Bind<KV>(&KV::Stub::Range, request, &response));
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - start);
    const bool healthy = result.verdict == Verdict::kDone;
    if (!healthy) code = kExitFailed;
    answers.push_back({endpoint, healthy, static_cast<uint64_t>(took.count()), result.error});
  }
  if (!answers.empty()) *output.out << output.printer->Health(answers);
  return code;
}

int RunMoveLeader(Client* client, const Output& output, uint64_t target) {
  std::vector<std::string> endpoints = client->options().endpoints;
  std::optional<Leader> leader = FindLeader(client, endpoints);
  if (!leader) {
    endpoints = ChooseEndpoints(client, output, /*cluster=*/true, "move-leader");
    leader = FindLeader(client, endpoints);
  }
  if (!leader) {
    *output.err << "raftkvctl: move-leader: no node says that it leads\n";
    return kExitFailed;
  }
  etcdserverpb::MoveLeaderRequest request;
  request.set_targetid(target);
  etcdserverpb::MoveLeaderResponse response;
  const CallResult result = client->Once(
      leader->endpoint, Bind<Maintenance>(&Maintenance::Stub::MoveLeader, request, &response));
  if (result.verdict == Verdict::kUnknown) {
    *output.err << "raftkvctl: move-leader: outcome unknown: leadership may still move; see "
                   "'raftkvctl status' ("
                << result.error << ")\n";
    return kExitUnknown;
  }
  if (const int code = Report(result, "move-leader", output); code != kExitOk) return code;
  *output.out << output.printer->MoveLeader(response, leader->id, target);
  return kExitOk;
}

}  // namespace raftkv::tools::ctl
