// What the subcommands share: binding a request to a stub's method, and saying how a call ended.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rpc.grpc.pb.h"
#include "tools/ctl/client.h"
#include "tools/ctl/commands.h"

namespace raftkv::tools::ctl {

// One attempt of `Stub::method`, with the request bound and the response written to `response`.
// Both must outlive it.
template <typename Service, typename Request, typename Response>
Client::Rpc Bind(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&,
                                                       Response*),
                 const Request& request, Response* response) {
  return [method, &request, response](const std::shared_ptr<grpc::Channel>& channel,
                                      grpc::ClientContext* context) {
    typename Service::Stub stub(channel);
    // What an attempt that failed half-way left behind is not part of the answer.
    response->Clear();
    return (stub.*method)(context, request, response);
  };
}

// Prints why it did not succeed; returns the exit code.
int Report(const CallResult& result, const char* command, const Output& output);

// Asks for the member list as the leader knows it now.
CallResult ListMembers(Client* client, etcdserverpb::MemberListResponse* response);

// The endpoints given, or, with `cluster`, those the members advertise. Empty after an error, which
// it prints.
std::vector<std::string> ChooseEndpoints(Client* client, const Output& output, bool cluster,
                                         const char* command);

}  // namespace raftkv::tools::ctl
