// What applying one entry answers.
#pragma once

#include <cstdint>
#include <variant>

#include "common/status.h"
#include "rpc.pb.h"

namespace raftkv::store {

// The answer to one command. `response` has its header's revision set and nothing else of the
// header: the edge fills in ids and term.
struct ApplyResult {
  Status status;
  std::variant<std::monostate, etcdserverpb::PutResponse, etcdserverpb::DeleteRangeResponse,
               etcdserverpb::TxnResponse, etcdserverpb::CompactionResponse,
               etcdserverpb::AlarmResponse>
      response;
  bool from_session = false;  // the write had been applied before; this is its first answer
  // Not 0: the write was applied and its answer, which would have reported this revision, given up
  // (answer_room.h). `status` says so.
  int64_t given_up_at = 0;
};

}  // namespace raftkv::store
