// What the gRPC servers of a process have in common: how they listen.
#pragma once

#include <grpcpp/grpcpp.h>

#include <vector>

#include "common/status.h"
#include "common/url.h"

namespace raftkv::server {

// Channel arguments every server of this process shares: no port sharing (a second process must be
// refused, not given half of the connections), and pings as often as etcd's clients send them.
void SetServerArguments(grpc::ServerBuilder* builder);

// Adds the listening ports; after BuildAndStart each element of `bound` is 0 where that failed.
void AddPorts(grpc::ServerBuilder* builder, const std::vector<Url>& urls, std::vector<int>* bound);
// kUnavailable, naming the first address that was not bound.
Status CheckPorts(const std::vector<Url>& urls, const std::vector<int>& bound);

}  // namespace raftkv::server
