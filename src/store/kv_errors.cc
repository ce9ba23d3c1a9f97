#include "store/kv_errors.h"

#include <string>
#include <string_view>

namespace raftkv::store {
namespace {

// raftkvctl goes by it too.
constexpr std::string_view kApplied = "raftkv: the write was applied once, at revision ";

std::string AppliedAt(int64_t revision) {
  return std::string(kApplied) + std::to_string(revision) + "; ";
}

}  // namespace

// Codes are those of etcd's gRPC errors; the edge maps them one to one.

Status ErrEmptyKey() { return {Code::kInvalidArgument, "etcdserver: key is not provided"}; }
Status ErrKeyNotFound() { return {Code::kInvalidArgument, "etcdserver: key not found"}; }
Status ErrValueProvided() { return {Code::kInvalidArgument, "etcdserver: value is provided"}; }
Status ErrLeaseProvided() { return {Code::kInvalidArgument, "etcdserver: lease is provided"}; }

Status ErrTooManyOps() {
  return {Code::kInvalidArgument, "etcdserver: too many operations in txn request"};
}

Status ErrDuplicateKey() {
  return {Code::kInvalidArgument, "etcdserver: duplicate key given in txn request"};
}

Status ErrInvalidSortOption() {
  return {Code::kInvalidArgument, "etcdserver: invalid sort option"};
}

Status ErrInvalidClientApiVersion() {
  return {Code::kInvalidArgument, "etcdserver: invalid client api version"};
}

Status ErrCompacted() {
  return {Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"};
}

Status ErrFutureRevision() {
  return {Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"};
}

Status ErrLeaseNotFound() { return {Code::kNotFound, "etcdserver: requested lease not found"}; }

Status ErrRequestTooLarge() { return {Code::kInvalidArgument, "etcdserver: request is too large"}; }

Status ErrTooManyRequests() { return {Code::kResourceExhausted, "etcdserver: too many requests"}; }

Status ErrNoLeader() { return {Code::kUnavailable, "etcdserver: no leader"}; }
Status ErrNotLeader() { return {Code::kFailedPrecondition, "etcdserver: not leader"}; }
Status ErrTimeout() { return {Code::kUnavailable, "etcdserver: request timed out"}; }

Status ErrTimeoutLeaderFail() {
  return {Code::kUnavailable,
          "etcdserver: request timed out, possibly due to previous leader failure"};
}

Status ErrTimeoutConnectionLost() {
  return {Code::kUnavailable, "etcdserver: request timed out, possibly due to connection lost"};
}

Status ErrStopped() { return {Code::kUnavailable, "etcdserver: server stopped"}; }
Status ErrMemberNotFound() { return {Code::kNotFound, "etcdserver: member not found"}; }

Status ErrBadLeaderTransferee() {
  return {Code::kFailedPrecondition, "etcdserver: bad leader transferee"};
}

Status ErrTooManyDeletes(uint64_t keys_max, uint64_t key_bytes_max) {
  return {Code::kInvalidArgument,
          "raftkv: this would delete more than " + std::to_string(keys_max) + " keys (or " +
              std::to_string(key_bytes_max) + " bytes of keys) at once; delete in smaller ranges"};
}

Status ErrSessionSequenceStale() {
  return {Code::kFailedPrecondition,
          "raftkv: the session has already gone past this sequence number"};
}

Status ErrSessionUnknown() {
  return {Code::kFailedPrecondition,
          "raftkv: the session does not exist or has expired; start again at sequence 1"};
}

Status ErrTooManySessions() { return {Code::kResourceExhausted, "raftkv: too many sessions"}; }

Status ErrSessionAnswerTooLarge(int64_t revision) {
  return {Code::kOutOfRange,
          AppliedAt(revision) + "its answer was too large to be kept for a repetition"};
}

Status ErrAnswerTooLarge(int64_t revision) {
  return {Code::kResourceExhausted,
          AppliedAt(revision) +
              "its answer was too large to be given: read in parts, with a limit, at that "
              "revision or the one before it"};
}

Status ErrReadTooLarge(size_t bytes_max) {
  return {Code::kResourceExhausted, "raftkv: the answer would take more than " +
                                        std::to_string(bytes_max) +
                                        " bytes; read in parts, with a limit"};
}

bool SaysApplied(const Status& status) { return status.message().starts_with(kApplied); }

}  // namespace raftkv::store
