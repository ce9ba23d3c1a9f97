#include "tools/ctl/call.h"

#include <algorithm>

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::Cluster;

void AddUnique(std::vector<std::string>* endpoints, const std::string& endpoint) {
  if (std::find(endpoints->begin(), endpoints->end(), endpoint) == endpoints->end()) {
    endpoints->push_back(endpoint);
  }
}

}  // namespace

int Report(const CallResult& result, const char* command, const Output& output) {
  switch (result.verdict) {
    case Verdict::kDone:
      return kExitOk;
    case Verdict::kUnknown:
      *output.err << "raftkvctl: " << command
                  << ": outcome unknown: the write may still be applied (" << result.error << ")\n";
      return kExitUnknown;
    case Verdict::kApplied:
      *output.err << "raftkvctl: " << command << ": the answer is lost (" << result.error << ")\n";
      return kExitUnknown;
    default:
      *output.err << "raftkvctl: " << command << ": " << result.error << "\n";
      return kExitFailed;
  }
}

CallResult ListMembers(Client* client, etcdserverpb::MemberListResponse* response) {
  etcdserverpb::MemberListRequest request;
  request.set_linearizable(true);
  return client->Read(Bind<Cluster>(&Cluster::Stub::MemberList, request, response));
}

std::vector<std::string> ChooseEndpoints(Client* client, const Output& output, bool cluster,
                                         const char* command) {
  if (!cluster) return client->options().endpoints;
  std::vector<std::string> endpoints;
  etcdserverpb::MemberListResponse members;
  if (Report(ListMembers(client, &members), command, output) != kExitOk) return endpoints;
  for (const auto& member : members.members()) {
    for (const std::string& url : member.clienturls()) {
      StatusOr<std::vector<std::string>> parsed = ParseEndpoints(url);
      if (parsed.ok()) AddUnique(&endpoints, parsed->front());
    }
  }
  if (endpoints.empty()) {
    *output.err << "raftkvctl: " << command << ": no member advertises a client address\n";
  }
  return endpoints;
}

}  // namespace raftkv::tools::ctl
