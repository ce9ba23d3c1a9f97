#include "store/session_limits.h"

#include "common/coding.h"

namespace raftkv::store {

std::string EncodeSessionLimits(const SessionLimits& limits) {
  std::string out;
  AppendVarint(&out, limits.sessions_max);
  AppendVarint(&out, limits.ttl_ms);
  return out;
}

StatusOr<SessionLimits> DecodeSessionLimits(std::string_view body) {
  SessionLimits limits;
  if (!ConsumeVarint(&body, &limits.sessions_max) || !ConsumeVarint(&body, &limits.ttl_ms) ||
      !body.empty()) {
    return Status(Code::kCorruption, "command: the session limits are malformed");
  }
  return limits;
}

}  // namespace raftkv::store
