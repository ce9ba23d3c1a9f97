// Our status codes as gRPC's and HTTP's.
#pragma once

#include <grpcpp/support/status.h>

#include "common/status.h"

namespace raftkv::server {

// etcd's choices, where etcd has the error.
grpc::StatusCode ToGrpcCode(Code code);
grpc::Status ToGrpc(const Status& status);

int ToHttpStatus(Code code);

}  // namespace raftkv::server
