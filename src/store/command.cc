#include "store/command.h"

#include <cstring>

#include "common/check.h"
#include "common/coding.h"

namespace raftkv::store {
namespace {

constexpr uint8_t kCommandVersion = 1;
constexpr size_t kRequestIdOffset = 2;
constexpr size_t kTimeOffset = 10;
constexpr size_t kHeaderBytes = 19;
constexpr uint8_t kSessionFlag = 1;

Status BadCommand(const std::string& what) { return {Code::kCorruption, "command: " + what}; }

}  // namespace

std::string_view CommandTypeName(CommandType type) {
  switch (type) {
    case CommandType::kPut:
      return "put";
    case CommandType::kDeleteRange:
      return "delete_range";
    case CommandType::kTxn:
      return "txn";
    case CommandType::kCompact:
      return "compact";
    case CommandType::kMemberAttributes:
      return "member_attributes";
    case CommandType::kAlarm:
      return "alarm";
    case CommandType::kSessionLimits:
      return "session_limits";
  }
  return "unknown";
}

Status ValidateSession(const SessionRef& session) {
  if (!session.present()) return Status::Ok();
  if (session.client.size() > kSessionClientBytesMax) {
    return {Code::kInvalidArgument, "raftkv: the session's client id is longer than " +
                                        std::to_string(kSessionClientBytesMax) + " bytes"};
  }
  if (session.sequence == 0) {
    return {Code::kInvalidArgument, "raftkv: the session's sequence numbers start at 1"};
  }
  return Status::Ok();
}

std::string EncodeCommand(CommandType type, uint64_t request_id, const SessionRef& session,
                          std::string_view body) {
  RAFTKV_CHECK(ValidateSession(session).ok(), "the edge must refuse a bad session");
  std::string out;
  out.reserve(kHeaderBytes + session.client.size() + 12 + body.size());
  out.push_back(static_cast<char>(kCommandVersion));
  out.push_back(static_cast<char>(type));
  AppendLittleEndian64(&out, request_id);
  AppendLittleEndian64(&out, 0);  // the leader stamps the time
  out.push_back(static_cast<char>(session.present() ? kSessionFlag : 0));
  if (session.present()) {
    AppendLengthPrefixed(&out, session.client);
    AppendVarint(&out, session.sequence);
  }
  out.append(body);
  return out;
}

StatusOr<Command> DecodeCommand(std::string_view payload) {
  std::string_view in = payload;
  uint8_t version = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  Command command;
  if (!ConsumeByte(&in, &version)) return BadCommand("empty payload");
  if (version != kCommandVersion) {
    return BadCommand("format version " + std::to_string(version) + " is not known");
  }
  if (!ConsumeByte(&in, &type) || !ConsumeLittleEndian64(&in, &command.request_id) ||
      !ConsumeLittleEndian64(&in, &command.time_ms) || !ConsumeByte(&in, &flags)) {
    return BadCommand("the header is cut off");
  }
  if (type < static_cast<uint8_t>(CommandType::kPut) ||
      type > static_cast<uint8_t>(CommandType::kSessionLimits)) {
    return BadCommand("type " + std::to_string(type) + " is not known");
  }
  command.type = static_cast<CommandType>(type);
  if (flags > kSessionFlag) return BadCommand("flags " + std::to_string(flags) + " are not known");
  if (flags == kSessionFlag) {
    std::string_view client;
    if (!ConsumeLengthPrefixed(&in, &client) || !ConsumeVarint(&in, &command.session.sequence) ||
        client.empty() || client.size() > kSessionClientBytesMax || command.session.sequence == 0) {
      return BadCommand("the session is malformed");
    }
    command.session.client = client;
  }
  command.body = in;
  return command;
}

uint64_t CommandRequestId(std::string_view payload) {
  if (payload.size() < kHeaderBytes) return 0;
  payload.remove_prefix(kRequestIdOffset);
  uint64_t id = 0;
  ConsumeLittleEndian64(&payload, &id);
  return id;
}

void StampCommandTime(std::string* payload, uint64_t time_ms) {
  RAFTKV_CHECK(payload->size() >= kHeaderBytes, "not an encoded command");
  std::string bytes;
  AppendLittleEndian64(&bytes, time_ms);
  std::memcpy(payload->data() + kTimeOffset, bytes.data(), bytes.size());
}

}  // namespace raftkv::store
