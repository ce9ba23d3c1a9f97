#include "tools/ctl/maintenance_commands.h"

#include <algorithm>

#include "tools/ctl/call.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::AlarmRequest;
using etcdserverpb::AlarmResponse;
using etcdserverpb::Maintenance;

int ListAlarms(Client* client, const Output& output, const char* command, AlarmResponse* response) {
  AlarmRequest request;
  request.set_action(AlarmRequest::GET);
  return Report(client->Read(Bind<Maintenance>(&Maintenance::Stub::Alarm, request, response)),
                command, output);
}

// Says what went wrong at one of several endpoints.
void ReportEndpoint(const Output& output, const char* command, const std::string& endpoint,
                    const CallResult& result) {
  *output.err << "raftkvctl: " << command << ": " << endpoint << ": " << result.error << "\n";
}

// The newest revision that every endpoint has; 0 after an error, which it prints.
int64_t CommonRevision(Client* client, const Output& output,
                       const std::vector<std::string>& endpoints) {
  int64_t common = 0;
  const etcdserverpb::StatusRequest request;
  for (const std::string& endpoint : endpoints) {
    etcdserverpb::StatusResponse response;
    const CallResult result =
        client->Probe(endpoint, Bind<Maintenance>(&Maintenance::Stub::Status, request, &response));
    if (result.verdict != Verdict::kDone) {
      ReportEndpoint(output, "hashkv", endpoint, result);
      return 0;
    }
    const int64_t revision = response.header().revision();
    common = common == 0 ? revision : std::min(common, revision);
  }
  return common;
}

}  // namespace

int RunAlarmList(Client* client, const Output& output) {
  AlarmResponse response;
  if (const int code = ListAlarms(client, output, "alarm list", &response); code != kExitOk) {
    return code;
  }
  *output.out << output.printer->Alarms(response);
  return kExitOk;
}

int RunAlarmDisarm(Client* client, const Output& output) {
  AlarmResponse raised;
  if (const int code = ListAlarms(client, output, "alarm disarm", &raised); code != kExitOk) {
    return code;
  }
  AlarmResponse disarmed = raised;
  disarmed.clear_alarms();
  for (const auto& alarm : raised.alarms()) {
    AlarmRequest request;
    request.set_action(AlarmRequest::DEACTIVATE);
    request.set_memberid(alarm.memberid());
    request.set_alarm(alarm.alarm());
    AlarmResponse response;
    const CallResult result =
        client->Write(Bind<Maintenance>(&Maintenance::Stub::Alarm, request, &response));
    if (const int code = Report(result, "alarm disarm", output); code != kExitOk) return code;
    *disarmed.mutable_header() = response.header();
    *disarmed.add_alarms() = alarm;
  }
  *output.out << output.printer->Alarms(disarmed);
  return kExitOk;
}

int RunDefrag(Client* client, const Output& output, bool cluster) {
  const std::vector<std::string> endpoints = ChooseEndpoints(client, output, cluster, "defrag");
  int code = endpoints.empty() ? kExitFailed : kExitOk;
  const etcdserverpb::DefragmentRequest request;
  for (const std::string& endpoint : endpoints) {
    etcdserverpb::DefragmentResponse response;
    // It takes as long as it takes: rewriting a large store at a limited rate is slow on purpose.
    const CallResult result = client->Stream(
        endpoint, Bind<Maintenance>(&Maintenance::Stub::Defragment, request, &response));
    if (result.verdict == Verdict::kDone) {
      *output.out << output.printer->Defragment(response, endpoint);
    } else {
      ReportEndpoint(output, "defrag", endpoint, result);
      code = kExitFailed;
    }
  }
  return code;
}

int RunHashKv(Client* client, const Output& output, bool cluster, int64_t revision) {
  const std::vector<std::string> endpoints = ChooseEndpoints(client, output, cluster, "hashkv");
  if (endpoints.empty()) return kExitFailed;
  etcdserverpb::HashKVRequest request;
  request.set_revision(revision != 0 ? revision : CommonRevision(client, output, endpoints));
  if (request.revision() == 0) return kExitFailed;
  int code = kExitOk;
  std::vector<EndpointHash> answers;
  for (const std::string& endpoint : endpoints) {
    EndpointHash answer{endpoint, request.revision(), {}};
    // Reads the whole store, so it has no deadline either.
    const CallResult result = client->Stream(
        endpoint, Bind<Maintenance>(&Maintenance::Stub::HashKV, request, &answer.response));
    if (result.verdict == Verdict::kDone) {
      answers.push_back(std::move(answer));
    } else {
      ReportEndpoint(output, "hashkv", endpoint, result);
      code = kExitFailed;
    }
  }
  if (!answers.empty()) *output.out << output.printer->HashKv(answers);
  for (const EndpointHash& answer : answers) {
    if (answer.response.hash() == answers.front().response.hash()) continue;
    *output.err << "raftkvctl: hashkv: " << answer.endpoint << " differs from "
                << answers.front().endpoint << " at revision " << request.revision() << "\n";
    code = kExitFailed;
  }
  return code;
}

}  // namespace raftkv::tools::ctl
