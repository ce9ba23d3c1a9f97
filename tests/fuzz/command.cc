// The payload of a log entry (src/store/command.h), and its request checked as the edge does.
#include "store/command.h"
#include "fuzz/fuzz.h"
#include "rpc.pb.h"
#include "store/validate.h"

namespace raftkv::fuzz {
namespace {

template <typename Request>
void Check(store::CommandType type, store::CommandType wanted, std::string_view body) {
  Request request;
  if (type == wanted && request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    (void)store::Validate(request);
  }
}

}  // namespace

FUZZ_TARGET(command) {
  (void)store::CommandRequestId(input);
  StatusOr<store::Command> command = store::DecodeCommand(input);
  if (!command.ok()) return;
  std::string again =
      store::EncodeCommand(command->type, command->request_id, command->session, command->body);
  store::StampCommandTime(&again, command->time_ms);
  const StatusOr<store::Command> copy = store::DecodeCommand(again);
  Require(copy.ok() && copy->type == command->type && copy->request_id == command->request_id &&
              copy->time_ms == command->time_ms && copy->session == command->session &&
              copy->body == command->body,
          "a command changed when it was encoded");
  Check<etcdserverpb::PutRequest>(command->type, store::CommandType::kPut, command->body);
  Check<etcdserverpb::DeleteRangeRequest>(command->type, store::CommandType::kDeleteRange,
                                          command->body);
  Check<etcdserverpb::TxnRequest>(command->type, store::CommandType::kTxn, command->body);
}

}  // namespace raftkv::fuzz
