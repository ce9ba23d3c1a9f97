// How log entries, hard state and membership look on disk.
//
// Each record is a version byte, its fields, and a seal: CRC-32C over the key and all that comes
// before the seal (common/sealed_record.h). Integers are little-endian, counts and node ids in
// lists are varints.
//
//   entry       0 u8 version (1)  1 u8 kind  2 u64 term  10 payload  then u32 seal
//   hard state  0 u8 version (1)  1 u64 term  9 u64 vote  17 u64 commit  25 u32 seal
//   membership  0 u8 version (1 or 2)  1 as common/membership_codec.h says, then u32 seal
//   log start   0 u8 version (1)  1 u64 index  9 u64 term  17 u32 seal
//
// An entry's seal covers its index too, because that is its key.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"

namespace raftkv::wal {

inline constexpr uint8_t kEntryVersion = 1;
inline constexpr uint8_t kHardStateVersion = 1;
inline constexpr uint8_t kLogStartVersion = 1;

inline constexpr size_t kEntryHeaderBytes = 10;
inline constexpr size_t kEntrySealBytes = 4;

// The key of an entry and what surrounds its payload, so that a payload of megabytes is copied into
// a write batch once and nowhere else.
struct EntryFrame {
  std::array<char, 8> key;
  std::array<char, kEntryHeaderBytes> header;
  std::array<char, kEntrySealBytes> seal;
};
EntryFrame FrameEntry(const Entry& entry);

// The whole record: header, payload, seal.
std::string EncodeEntry(const Entry& entry);

// A decoded entry that points into its record.
struct EntryView {
  Term term;
  EntryKind kind = EntryKind::kNoop;
  std::string_view payload;
};

// The decoders fail with kCorruption when the record is damaged, or belongs to another key, and
// with kFailedPrecondition when a newer version of this program wrote it.
StatusOr<EntryView> DecodeEntryView(Index index, std::string_view record);
StatusOr<Entry> DecodeEntry(Index index, std::string_view record);

std::string EncodeHardState(const HardState& hard_state);
StatusOr<HardState> DecodeHardState(std::string_view record);

// The configuration at the log's start (kLogStartKey); entries of the log may hold later ones.
std::string EncodeMembershipRecord(const Membership& membership);
StatusOr<Membership> DecodeMembershipRecord(std::string_view record);

// The position just before the first entry.
std::string EncodeLogStart(const LogPosition& before_first);
StatusOr<LogPosition> DecodeLogStart(std::string_view record);

}  // namespace raftkv::wal
