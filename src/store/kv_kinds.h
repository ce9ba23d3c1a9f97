// The first byte of every key in the kv column family says what kind of record it is. Here, and not
// in mvcc.h, because the engine's options depend on it too.
#pragma once

namespace raftkv::store {

inline constexpr char kAppliedKind = 'a';
inline constexpr char kConfigKind = 'c';
inline constexpr char kDataKind = 'd';
inline constexpr char kMemberKind = 'm';
inline constexpr char kRevisionKind = 'r';
inline constexpr char kSessionKind = 's';
inline constexpr char kAlarmKind = 'w';
inline constexpr char kSessionTimeKind = 'x';

}  // namespace raftkv::store
