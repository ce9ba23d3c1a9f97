// The identity record in raft_meta.
//
//   0 u8 record version (1)  1 u32 format version  5 u64 cluster id  13 u64 node id
//   21 varint length, node name, then u32 seal (common/sealed_record.h)
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "store/engine.h"

namespace raftkv::store {

// The record's name in raft_meta. On disk: never change it.
inline constexpr std::string_view kIdentityKey = "identity";

std::string EncodeIdentity(const NodeIdentity& identity);

// kCorruption when damaged. kFailedPrecondition when the directory's format is newer than
// kFormatVersion: the version and the seal are then all that was looked at.
StatusOr<NodeIdentity> DecodeIdentity(std::string_view record);

}  // namespace raftkv::store
