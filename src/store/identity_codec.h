// The records of raft_meta that are the engine's own.
//
//   identity   0 u8 record version (1)  1 u32 format version  5 u64 cluster id  13 u64 node id
//              21 varint length, node name, then u32 seal (common/sealed_record.h)
//   kv_family  0 u8 record version (1)  1 u64 id  9 u32 seal
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"
#include "store/engine.h"

namespace raftkv::store {

// The records' names in raft_meta. On disk: never change them.
inline constexpr std::string_view kIdentityKey = "identity";
inline constexpr std::string_view kKvFamilyKey = "kv_family";

std::string EncodeIdentity(const NodeIdentity& identity);

// kCorruption when damaged. kFailedPrecondition when the directory's format is newer than
// kFormatVersion: the version and the seal are then all that was looked at.
StatusOr<NodeIdentity> DecodeIdentity(std::string_view record);

// Says that the applied state is the column family "kv.<id>"; without it, it is "kv". `id` is not
// 0.
std::string EncodeKvFamily(uint64_t id);
// Fails as DecodeIdentity does.
StatusOr<uint64_t> DecodeKvFamily(std::string_view record);

}  // namespace raftkv::store
