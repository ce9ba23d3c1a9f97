#include "server/rpc_status.h"

#include "store/kv_errors.h"

namespace raftkv::server {

grpc::StatusCode ToGrpcCode(Code code) {
  switch (code) {
    case Code::kOk:
      return grpc::StatusCode::OK;
    case Code::kInvalidArgument:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case Code::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Code::kFailedPrecondition:
    case Code::kNotLeader:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::kOutOfRange:
      return grpc::StatusCode::OUT_OF_RANGE;
    case Code::kResourceExhausted:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::kUnavailable:
    case Code::kDropped:
    case Code::kOutcomeUnknown:
      return grpc::StatusCode::UNAVAILABLE;
    case Code::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Code::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case Code::kUnimplemented:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Code::kCorruption:
      return grpc::StatusCode::DATA_LOSS;
    case Code::kIoError:
    case Code::kInternal:
      return grpc::StatusCode::INTERNAL;
  }
  return grpc::StatusCode::UNKNOWN;
}

grpc::Status ToGrpc(const Status& status) { return {ToGrpcCode(status.code()), status.message()}; }

const char* OutcomeOf(const Status& status) {
  if (status.code() == Code::kOutcomeUnknown) return "unknown";
  return store::SaysApplied(status) ? "applied" : "not-applied";
}

int ToHttpStatus(Code code) {
  switch (code) {
    case Code::kOk:
      return 200;
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
    case Code::kFailedPrecondition:
      return 400;
    case Code::kNotFound:
      return 404;
    case Code::kAlreadyExists:
      return 409;
    case Code::kResourceExhausted:
      return 429;
    case Code::kUnimplemented:
      return 501;
    case Code::kUnavailable:
    case Code::kNotLeader:
    case Code::kDropped:
    case Code::kOutcomeUnknown:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
      return 503;
    case Code::kCorruption:
    case Code::kIoError:
    case Code::kInternal:
      return 500;
  }
  return 500;
}

}  // namespace raftkv::server
