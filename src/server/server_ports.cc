#include "server/server_ports.h"

namespace raftkv::server {

void SetServerArguments(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // gRPC's own statistics, which nobody asks for and which each call pays for.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->SetMaxSendMessageSize(-1);
}

void AddPorts(grpc::ServerBuilder* builder, const std::vector<Url>& urls, std::vector<int>* bound) {
  bound->assign(urls.size(), 0);
  for (size_t i = 0; i < urls.size(); ++i) {
    builder->AddListeningPort(urls[i].HostPort(), grpc::InsecureServerCredentials(), &(*bound)[i]);
  }
}

Status CheckPorts(const std::vector<Url>& urls, const std::vector<int>& bound) {
  for (size_t i = 0; i < urls.size(); ++i) {
    if (bound[i] != 0) continue;
    return {Code::kUnavailable, "can't listen on " + urls[i].HostPort() +
                                    ": the port is in use or the address is not this machine's; "
                                    "stop what uses it or choose another URL"};
  }
  return Status::Ok();
}

}  // namespace raftkv::server
