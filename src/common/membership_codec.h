// A membership as bytes: the payload of a configuration entry, the body of raft_meta's membership
// record, and part of a snapshot's header.
//
// Version 2, integers as LEB128 varints:
//   u8 version (2)
//   voters, outgoing, learners, removed: each a count and ascending ids
//   info: a count, then for each member, by ascending id: id, u8 flags (bit 0: promote), a count of
//   peer URLs, each a length and its bytes
// Version 1 had no version byte of its own (the record's was 1) and ended after the learners; only
// raft_meta ever held it (src/wal/entry_codec.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/membership.h"
#include "common/status.h"

namespace raftkv {

inline constexpr uint8_t kMembershipVersion = 2;

// Starts with the version byte.
std::string EncodeMembership(const Membership& membership);

// The whole of `bytes` must be one membership. kInvalidArgument when it is malformed,
// kFailedPrecondition when it is of a newer version.
StatusOr<Membership> DecodeMembership(std::string_view bytes);

// The body of version 1; none when it is malformed.
std::optional<Membership> DecodeMembershipV1(std::string_view body);

}  // namespace raftkv
