// Our status codes as gRPC's and HTTP's.
#pragma once

#include <grpcpp/support/status.h>

#include "common/status.h"

namespace raftkv::server {

// etcd's choices, where etcd has the error.
grpc::StatusCode ToGrpcCode(Code code);
grpc::Status ToGrpc(const Status& status);

int ToHttpStatus(Code code);

// The trailing metadata kOutcomeMeta of a failed call says what became of the write, where there
// was one: "unknown", "applied" or "not-applied". One gRPC code can stand for any of them.
inline constexpr char kOutcomeMeta[] = "raftkv-outcome";
const char* OutcomeOf(const Status& status);

}  // namespace raftkv::server
