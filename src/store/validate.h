// Checks that need no state: what the edge refuses before anything is proposed. etcd's rules and
// etcd's error texts.
#pragma once

#include <cstddef>
#include <string_view>

#include "common/status.h"
#include "rpc.pb.h"

namespace raftkv::store {

inline constexpr size_t kRequestBytesMax = 1536 * 1024;  // etcd's --max-request-bytes default
inline constexpr int kTxnOpsMax = 128;                   // etcd's --max-txn-ops default

Status Validate(const etcdserverpb::RangeRequest& request);
Status Validate(const etcdserverpb::PutRequest& request);
Status Validate(const etcdserverpb::DeleteRangeRequest& request);
// Also the duplicate-key rule over all nested branches (put+put and put+delete of one key).
Status Validate(const etcdserverpb::TxnRequest& request, int ops_max = kTxnOpsMax);

// An encoded command (src/store/command.h), whole: header, body and the rules above, so that
// applying it can't end the process. For one that another node's edge let through: how large it may
// be was that node's to say. kCorruption when it can't be read, kInvalidArgument when it breaks a
// rule.
Status ValidateCommand(std::string_view payload);

// Whether the transaction changes nothing whatever its compares say: it can then be served as a
// read, after a ReadIndex.
bool IsReadOnly(const etcdserverpb::TxnRequest& request);
// Whether it has ranges and every one asks for a serializable read. (etcd also takes a transaction
// with compares alone for serializable; its client never said that stale compares will do.)
bool IsSerializable(const etcdserverpb::TxnRequest& request);

}  // namespace raftkv::store
