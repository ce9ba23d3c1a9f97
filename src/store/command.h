// State machine commands: what the payload of a kCommand entry says.
//
// Layout (docs/on-disk-format.md), version 1; integers little-endian, varints LEB128:
//   0   u8   format version (1)
//   1   u8   CommandType
//   2   u64  request id: the node that took the request finds its waiting client by it
//   10  u64  time, milliseconds since the epoch, stamped by the leader that proposed it
//   18  u8   flags: bit 0, a session follows
//   [varint length, client id bytes, varint sequence]
//   ...      the request, as protobuf (etcdserverpb.*) or, for kMemberAttributes,
//   etcdserverpb.Member, for kAlarm etcdserverpb.AlarmRequest, for kSessionLimits two varints
//   (session_limits.h)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace raftkv::store {

// On disk: never renumber.
enum class CommandType : uint8_t {
  kPut = 1,
  kDeleteRange = 2,
  kTxn = 3,
  kCompact = 4,
  kMemberAttributes = 5,  // a member publishes its name and client addresses
  kAlarm = 6,             // raises or lowers an alarm
  kSessionLimits = 7,     // how many sessions are remembered, and for how long
};

std::string_view CommandTypeName(CommandType type);

inline constexpr size_t kSessionClientBytesMax = 128;

// A retried write carries the same client id and sequence as the first try (thesis 6.3).
struct SessionRef {
  std::string client;     // chosen by the client: 1..128 bytes; empty: no session
  uint64_t sequence = 0;  // starts at 1 and grows by at least 1 a write

  bool present() const { return !client.empty(); }
  bool operator==(const SessionRef&) const = default;
};

struct Command {
  CommandType type = CommandType::kPut;
  uint64_t request_id = 0;
  uint64_t time_ms = 0;
  SessionRef session;
  std::string_view body;  // points into the payload
};

// kInvalidArgument when the client id is too long or the sequence is 0. The edge asks before it
// encodes a command: what is in the log must be applicable.
Status ValidateSession(const SessionRef& session);

// `session` must be valid.
std::string EncodeCommand(CommandType type, uint64_t request_id, const SessionRef& session,
                          std::string_view body);

// kCorruption when the payload is not a command this version knows.
StatusOr<Command> DecodeCommand(std::string_view payload);

// The request id without decoding the rest; 0 when the payload is too short.
uint64_t CommandRequestId(std::string_view payload);

// Stamps the time into an encoded command, before it is proposed.
void StampCommandTime(std::string* payload, uint64_t time_ms);

}  // namespace raftkv::store
