// Names of the records in raft_meta and keys of raft_log (docs/on-disk-format.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/types.h"

namespace raftkv::wal {

// raft_meta, beside store::kIdentityKey. The names are on disk: never change them.
inline constexpr std::string_view kHardStateKey = "hard_state";
inline constexpr std::string_view kMembershipKey = "membership";
// Where the log begins: the position just before its first entry, (0, 0) in a log that was never
// cut. It bounds every scan, so that entries whose deletion was lost can't come back.
inline constexpr std::string_view kLogStartKey = "log_start";

inline constexpr size_t kLogKeyBytes = 8;

// The index, big-endian: byte order is log order.
std::string LogKey(Index index);

// Nothing when `key` is not a key of raft_log.
std::optional<Index> ParseLogKey(std::string_view key);

}  // namespace raftkv::wal
