// The payload of a log entry (src/store/command.h), and its request checked as a leader does that
// gets it from another node.
#include "store/command.h"
#include "fuzz/fuzz.h"
#include "store/validate.h"

namespace raftkv::fuzz {

FUZZ_TARGET(command) {
  (void)store::CommandRequestId(input);
  const Status valid = store::ValidateCommand(input);
  StatusOr<store::Command> command = store::DecodeCommand(input);
  Require(command.ok() || !valid.ok(), "what can't be decoded is valid");
  if (!command.ok()) return;
  std::string again =
      store::EncodeCommand(command->type, command->request_id, command->session, command->body);
  store::StampCommandTime(&again, command->time_ms);
  const StatusOr<store::Command> copy = store::DecodeCommand(again);
  Require(copy.ok() && copy->type == command->type && copy->request_id == command->request_id &&
              copy->time_ms == command->time_ms && copy->session == command->session &&
              copy->body == command->body,
          "a command changed when it was encoded");
}

}  // namespace raftkv::fuzz
