// The kv column family on disk: its keys, and the records under them.
//
// Keys (docs/on-disk-format.md has the same table). The first byte is the kind of record, so that
// `ldb` output can be read by eye:
//
//   "a"                                                 the applied record, one
//   "c"                                                 the configuration, one
//   "d" escaped-key 00 01  ^revision(8) ^sub(4)         one version of a key, newest first
//   "m" node id(8)                                      a member's published attributes
//   "r" revision(8) sub(4)                              which key changed in that revision
//   "s" client id                                       a client session
//   "w" member id(8) type(1)                            an alarm that is raised
//   "x" second(8) client id                             sessions by when they were last used
//
// Numbers in keys are big-endian; ^ means every bit inverted, so that a higher number sorts first.
// A zero byte in a user key is written 00 FF and the key ends with 00 01: byte order of the encoded
// keys is then the byte order of the user keys, none is a prefix of another, and keys that start
// with some bytes still stand together.
//
// Every record starts the same way:
//
//   0   u8   format version (1)
//   1   u32  CRC32C, little-endian, of: the record's key, byte 0, and everything from byte 5 on
//   5   ...  the body
//
// The key is in the checksum so that a record that turns up under another key is found out.
// Bodies (varints are LEB128; "bytes" without a length run to the end):
//
//   a   u64 x 8: index, term, revision, compact revision, compacted-to, clock in ms, number of
//       sessions, bumped-to; little-endian
//   c   the membership (common/membership_codec.h)
//   d   u8 flags (bit 0: tombstone). A tombstone ends here. Else: varint (revision in the key -
//       create revision), varint version, varint lease, the value's bytes
//   m   etcdserverpb.Member, as protobuf: ID, name, clientURLs
//   r   u8 flags (bit 0: tombstone; bit 1: there is a previous version). With bit 1: varint
//       (revision in the key - its revision), varint its sub. Then the key's bytes, not escaped
//   s   varint sequence, varint last used in ms, u8 answer kind (AnswerKind), varint status code
//       (canonical gRPC number), varint length and bytes of the status message, answer bytes
//   w   nothing
//   x   nothing
//
// `r` names the version its change replaced. Compaction can then remove old versions by reading the
// revision index in order and nothing else: no seek into `d` for each of them. A watch finds the
// previous value with one Get.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"
#include "store/applied_record.h"
#include "store/kv_kinds.h"

namespace raftkv::store {

inline constexpr uint8_t kRecordVersion = 1;
// Of the applied record where the session limits are not the default ones. An older program, which
// would go by other limits, then refuses the state instead of diverging.
inline constexpr uint8_t kAppliedVersionWithLimits = 2;

// When a version was written: the store's revision, and the place within the transaction.
struct Revision {
  int64_t main = 0;  // 0: none
  uint32_t sub = 0;

  bool none() const { return main == 0; }
  auto operator<=>(const Revision&) const = default;
};

// The newest version at or below revision `main`, whatever its sub.
inline Revision LastOf(int64_t main) { return {main, UINT32_MAX}; }

// --- Keys ---

inline constexpr size_t kRevisionBytes = 12;

std::string AppliedKey();

// "d" and the escaped key with its end: what all versions of `user_key` start with.
void AppendDataPrefix(std::string* out, std::string_view user_key);
std::string DataPrefix(std::string_view user_key);
// "d" and the escaped bytes without an end: what all keys start with that start with `prefix`.
std::string DataKeysStartingWith(std::string_view prefix);
// Appends the inverted revision to a data prefix.
void AppendInvertedRevision(std::string* out, Revision revision);
std::string DataKey(std::string_view user_key, Revision revision);
// The part of a well-formed data key that all versions share.
inline std::string_view DataPrefixOf(std::string_view data_key) {
  return data_key.substr(0, data_key.size() - kRevisionBytes);
}
// Its revision; none where there is no room for one.
Revision DataKeyRevision(std::string_view data_key);
// kCorruption if `data_key` is not one.
Status DecodeDataKey(std::string_view data_key, std::string* user_key, Revision* revision);

std::string RevisionKey(Revision revision);
Status DecodeRevisionKey(std::string_view revision_key, Revision* revision);

std::string SessionKey(std::string_view client);
Status DecodeSessionKey(std::string_view session_key, std::string_view* client);

// Sessions are ordered by the second they were last used in, not the millisecond: a busy session
// then moves in the index once a second and not with every write.
std::string SessionTimeKey(uint64_t last_used_ms, std::string_view client);
// `second_ms` is the start of that second.
Status DecodeSessionTimeKey(std::string_view key, uint64_t* second_ms, std::string_view* client);

std::string MemberKey(NodeId node);
Status DecodeMemberKey(std::string_view key, NodeId* node);

std::string ConfigKey();

// `type` is etcdserverpb.AlarmType.
std::string AlarmKey(NodeId member, uint8_t type);
Status DecodeAlarmKey(std::string_view key, NodeId* member, uint8_t* type);

// --- Records ---
//
// Encoders replace `out`. Decoders return kCorruption with what is wrong, naming the key, for a
// wrong checksum, an unknown version or a malformed body; the views they return point into `bytes`.

struct DataRecord {
  bool tombstone = false;
  int64_t create_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
  std::string_view value = {};
};

// `data_key` is the record's key; its revision must be `mod_revision`.
void EncodeDataRecord(std::string_view data_key, int64_t mod_revision, const DataRecord& record,
                      std::string* out);
Status DecodeDataRecord(std::string_view data_key, std::string_view bytes, DataRecord* record);

struct RevisionRecord {
  bool tombstone = false;
  Revision previous = {};  // the version this change replaced; none if the key did not exist
  std::string_view user_key = {};
};

void EncodeRevisionRecord(std::string_view revision_key, Revision revision,
                          const RevisionRecord& record, std::string* out);
Status DecodeRevisionRecord(std::string_view revision_key, std::string_view bytes,
                            RevisionRecord* record);

std::string EncodeAppliedRecord(const AppliedRecord& record);
StatusOr<AppliedRecord> DecodeAppliedRecord(std::string_view bytes);

// What a session's stored answer is. On disk: never renumber.
enum class AnswerKind : uint8_t {
  kNone = 0,         // the command has no response message
  kPut = 1,          // etcdserverpb.PutResponse
  kDeleteRange = 2,  // etcdserverpb.DeleteRangeResponse
  kTxn = 3,          // etcdserverpb.TxnResponse
  kCompact = 4,      // etcdserverpb.CompactionResponse
  kTooLarge = 5,     // it was not kept; instead: the revision it reported, as a varint
  kAlarm = 6,        // etcdserverpb.AlarmResponse
};

struct SessionRecord {
  uint64_t sequence = 0;
  uint64_t last_used_ms = 0;
  Status status = {};  // of the first answer
  AnswerKind kind = AnswerKind::kNone;
  std::string answer = {};
};

std::string EncodeSessionRecord(std::string_view session_key, const SessionRecord& record);
StatusOr<SessionRecord> DecodeSessionRecord(std::string_view session_key, std::string_view bytes);

std::string EncodeSessionTimeRecord(std::string_view key);
Status DecodeSessionTimeRecord(std::string_view key, std::string_view bytes);

// `member` is etcdserverpb.Member, serialized.
std::string EncodeMemberRecord(std::string_view key, std::string_view member);
StatusOr<std::string_view> DecodeMemberRecord(std::string_view key, std::string_view bytes);

std::string EncodeConfigRecord(const Membership& membership);
StatusOr<Membership> DecodeConfigRecord(std::string_view bytes);

std::string EncodeAlarmRecord(std::string_view key);
Status DecodeAlarmRecord(std::string_view key, std::string_view bytes);

// What holds for every kind: the version is known and the checksum right.
Status CheckRecord(std::string_view key, std::string_view bytes);

// Bytes for people: printable ASCII as it is, the rest as \xNN, cut at 80 bytes.
std::string Printable(std::string_view bytes);

}  // namespace raftkv::store
