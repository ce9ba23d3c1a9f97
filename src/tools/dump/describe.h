// What an entry of the Raft log says, in JSON and in words.
#pragma once

#include <string>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"
#include "tools/dump/report.h"
#include "wal/entry_codec.h"

namespace raftkv::tools::dump {

struct DescribeOptions {
  bool values = false;  // the bytes of values, not only their size
};

std::string_view EntryKindName(EntryKind kind);

// The fields of a command: its type, session, request and what it does. kCorruption when the
// payload does not decode.
StatusOr<Json> DescribeCommand(std::string_view payload, const DescribeOptions& options);

// Whether the command, as described, reads or writes `key`, in a branch of a transaction perhaps.
// What a transaction compares does not count.
bool Touches(const Json& command, std::string_view key);

// A configuration: who votes, who listens, where they are reached, who was removed.
Json MembershipJson(const Membership& membership);
// The payload of a configuration entry. kInvalidArgument when it does not decode.
StatusOr<Json> DescribeConfig(std::string_view payload);

// The same in words, one line, from the JSON.
std::string ConfigText(const Json& config);
std::string CommandText(const Json& command);

}  // namespace raftkv::tools::dump
