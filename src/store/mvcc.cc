#include "store/mvcc.h"

#include <utility>

#include "common/check.h"
#include "common/coding.h"
#include "common/crc32c.h"
#include "common/membership_codec.h"

namespace raftkv::store {
namespace {

constexpr size_t kHeaderBytes = 5;  // version and CRC
constexpr char kEscape = '\0';
constexpr char kEscapedZero = '\xff';
constexpr char kTerminator = '\x01';
constexpr uint8_t kTombstoneFlag = 1;
constexpr uint8_t kPreviousFlag = 2;
constexpr uint64_t kSecondMs = 1000;

bool ConsumeBigEndian32(std::string_view* in, uint32_t* v) {
  if (in->size() < 4) return false;
  *v = 0;
  for (int i = 0; i < 4; ++i) *v = (*v << 8) | static_cast<uint8_t>((*in)[i]);
  in->remove_prefix(4);
  return true;
}

void AppendEscaped(std::string* out, std::string_view user_key) {
  size_t from = 0;
  for (size_t zero; (zero = user_key.find(kEscape, from)) != std::string_view::npos;) {
    out->append(user_key, from, zero + 1 - from);
    out->push_back(kEscapedZero);
    from = zero + 1;
  }
  out->append(user_key, from);
}

// The inverse, up to and with the terminator, which must be the end of `escaped`.
bool Unescape(std::string_view escaped, std::string* user_key) {
  user_key->clear();
  for (;;) {
    const size_t zero = escaped.find(kEscape);
    if (zero == std::string_view::npos || zero + 1 >= escaped.size()) return false;
    user_key->append(escaped, 0, zero);
    const char mark = escaped[zero + 1];
    escaped.remove_prefix(zero + 2);
    if (mark == kTerminator) return escaped.empty();
    if (mark != kEscapedZero) return false;
    user_key->push_back(kEscape);
  }
}

Status BadKey(std::string_view key, const char* what) {
  return {Code::kCorruption, "kv: key \"" + Printable(key) + "\" is not a " + what + " key"};
}

Status BadRecord(std::string_view key, const std::string& what) {
  return {Code::kCorruption, "kv: the record under key \"" + Printable(key) + "\" " + what};
}

// Starts a record; the CRC's place is filled in by Seal.
void Begin(std::string* out) {
  out->clear();
  out->push_back(static_cast<char>(kRecordVersion));
  out->append(4, '\0');
}

uint32_t Checksum(std::string_view key, std::string_view bytes) {
  uint32_t crc = Crc32c(key);
  crc = ExtendCrc32c(crc, bytes.substr(0, 1));
  return ExtendCrc32c(crc, bytes.substr(kHeaderBytes));
}

void Seal(std::string_view key, std::string* out) {
  StoreLittleEndian(out->data() + 1, Checksum(key, *out));
}

uint8_t NewestVersionOf(std::string_view key) {
  return key == AppliedKey() ? kAppliedVersionWithLimits : kRecordVersion;
}

// Checks version and checksum and returns the body. The version comes first: a record of a newer
// format may have another checksum.
Status Open(std::string_view key, std::string_view bytes, std::string_view* body) {
  if (bytes.size() < kHeaderBytes) {
    return BadRecord(key, "is cut off: " + std::to_string(bytes.size()) + " bytes");
  }
  const auto version = static_cast<uint8_t>(bytes[0]);
  const uint8_t newest = NewestVersionOf(key);
  if (version < kRecordVersion || version > newest) {
    return BadRecord(key, "has format version " + std::to_string(version) +
                              ", which this program does not know (it knows " +
                              std::to_string(newest) + "); it is damaged or newer");
  }
  std::string_view header = bytes.substr(1, 4);
  uint32_t stored = 0;
  ConsumeLittleEndian32(&header, &stored);
  if (stored != Checksum(key, bytes)) return BadRecord(key, "is damaged: its checksum is wrong");
  *body = bytes.substr(kHeaderBytes);
  return Status::Ok();
}

// Status codes on disk are gRPC's canonical numbers, not those of our enum, which may change.
constexpr std::pair<Code, uint64_t> kStatusNumbers[] = {
    {Code::kOk, 0},
    {Code::kInvalidArgument, 3},
    {Code::kNotFound, 5},
    {Code::kAlreadyExists, 6},
    {Code::kResourceExhausted, 8},
    {Code::kFailedPrecondition, 9},
    {Code::kOutOfRange, 11},
};

uint64_t StatusNumber(Code code) {
  for (const auto& [c, number] : kStatusNumbers) {
    if (c == code) return number;
  }
  RAFTKV_CHECK(false, "no command answers " + std::string(CodeName(code)));
  return 0;
}

bool StatusCode(uint64_t number, Code* code) {
  for (const auto& [c, n] : kStatusNumbers) {
    if (n != number) continue;
    *code = c;
    return true;
  }
  return false;
}

}  // namespace

std::string Printable(std::string_view bytes) {
  constexpr size_t kShown = 80;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes.substr(0, kShown)) {
    const auto u = static_cast<uint8_t>(c);
    if (u >= 0x20 && u < 0x7f && c != '\\' && c != '"') {
      out.push_back(c);
    } else {
      out += "\\x";
      out.push_back(kHex[u >> 4]);
      out.push_back(kHex[u & 15]);
    }
  }
  if (bytes.size() > kShown) out += "...";
  return out;
}

// --- Keys ---

std::string AppliedKey() { return std::string(1, kAppliedKind); }

void AppendDataPrefix(std::string* out, std::string_view user_key) {
  out->push_back(kDataKind);
  AppendEscaped(out, user_key);
  out->push_back(kEscape);
  out->push_back(kTerminator);
}

std::string DataPrefix(std::string_view user_key) {
  std::string out;
  out.reserve(user_key.size() + 3 + kRevisionBytes);
  AppendDataPrefix(&out, user_key);
  return out;
}

std::string DataKeysStartingWith(std::string_view prefix) {
  std::string out(1, kDataKind);
  AppendEscaped(&out, prefix);
  return out;
}

void AppendInvertedRevision(std::string* out, Revision revision) {
  AppendBigEndian64(out, ~static_cast<uint64_t>(revision.main));
  AppendBigEndian32(out, ~revision.sub);
}

std::string DataKey(std::string_view user_key, Revision revision) {
  std::string out = DataPrefix(user_key);
  AppendInvertedRevision(&out, revision);
  return out;
}

Revision DataKeyRevision(std::string_view data_key) {
  if (data_key.size() < kRevisionBytes) return {};
  std::string_view rest = data_key.substr(data_key.size() - kRevisionBytes);
  uint64_t main = 0;
  uint32_t sub = 0;
  ConsumeBigEndian64(&rest, &main);
  ConsumeBigEndian32(&rest, &sub);
  return {static_cast<int64_t>(~main), ~sub};
}

Status DecodeDataKey(std::string_view data_key, std::string* user_key, Revision* revision) {
  if (data_key.size() < 3 + kRevisionBytes || data_key[0] != kDataKind ||
      !Unescape(DataPrefixOf(data_key).substr(1), user_key)) {
    return BadKey(data_key, "data");
  }
  *revision = DataKeyRevision(data_key);
  if (revision->main <= 0) return BadKey(data_key, "data");
  return Status::Ok();
}

std::string RevisionKey(Revision revision) {
  std::string out(1, kRevisionKind);
  AppendBigEndian64(&out, static_cast<uint64_t>(revision.main));
  AppendBigEndian32(&out, revision.sub);
  return out;
}

Status DecodeRevisionKey(std::string_view revision_key, Revision* revision) {
  std::string_view rest = revision_key;
  uint8_t kind = 0;
  uint64_t main = 0;
  if (!ConsumeByte(&rest, &kind) || kind != kRevisionKind || !ConsumeBigEndian64(&rest, &main) ||
      !ConsumeBigEndian32(&rest, &revision->sub) || !rest.empty() ||
      static_cast<int64_t>(main) <= 0) {
    return BadKey(revision_key, "revision");
  }
  revision->main = static_cast<int64_t>(main);
  return Status::Ok();
}

std::string SessionKey(std::string_view client) {
  std::string out(1, kSessionKind);
  out.append(client);
  return out;
}

Status DecodeSessionKey(std::string_view session_key, std::string_view* client) {
  if (session_key.size() < 2 || session_key[0] != kSessionKind) {
    return BadKey(session_key, "session");
  }
  *client = session_key.substr(1);
  return Status::Ok();
}

std::string SessionTimeKey(uint64_t last_used_ms, std::string_view client) {
  std::string out(1, kSessionTimeKind);
  AppendBigEndian64(&out, last_used_ms / kSecondMs);
  out.append(client);
  return out;
}

Status DecodeSessionTimeKey(std::string_view key, uint64_t* second_ms, std::string_view* client) {
  std::string_view rest = key;
  uint8_t kind = 0;
  uint64_t second = 0;
  if (!ConsumeByte(&rest, &kind) || kind != kSessionTimeKind ||
      !ConsumeBigEndian64(&rest, &second) || rest.empty() || second > UINT64_MAX / kSecondMs) {
    return BadKey(key, "session time");
  }
  *second_ms = second * kSecondMs;
  *client = rest;
  return Status::Ok();
}

std::string MemberKey(NodeId node) {
  std::string out(1, kMemberKind);
  AppendBigEndian64(&out, node.value());
  return out;
}

Status DecodeMemberKey(std::string_view key, NodeId* node) {
  std::string_view rest = key;
  uint8_t kind = 0;
  uint64_t id = 0;
  if (!ConsumeByte(&rest, &kind) || kind != kMemberKind || !ConsumeBigEndian64(&rest, &id) ||
      !rest.empty()) {
    return BadKey(key, "member");
  }
  *node = NodeId(id);
  return Status::Ok();
}

std::string ConfigKey() { return std::string(1, kConfigKind); }

std::string AlarmKey(NodeId member, uint8_t type) {
  std::string out(1, kAlarmKind);
  AppendBigEndian64(&out, member.value());
  out.push_back(static_cast<char>(type));
  return out;
}

Status DecodeAlarmKey(std::string_view key, NodeId* member, uint8_t* type) {
  std::string_view rest = key;
  uint8_t kind = 0;
  uint64_t id = 0;
  if (!ConsumeByte(&rest, &kind) || kind != kAlarmKind || !ConsumeBigEndian64(&rest, &id) ||
      !ConsumeByte(&rest, type) || !rest.empty()) {
    return BadKey(key, "alarm");
  }
  *member = NodeId(id);
  return Status::Ok();
}

// --- Records ---

void EncodeDataRecord(std::string_view data_key, int64_t mod_revision, const DataRecord& record,
                      std::string* out) {
  Begin(out);
  if (record.tombstone) {
    out->push_back(static_cast<char>(kTombstoneFlag));
  } else {
    out->reserve(kHeaderBytes + 1 + 3 * kVarintBytesMax + record.value.size());
    out->push_back('\0');
    AppendVarint(out, static_cast<uint64_t>(mod_revision - record.create_revision));
    AppendVarint(out, static_cast<uint64_t>(record.version));
    AppendVarint(out, static_cast<uint64_t>(record.lease));
    out->append(record.value);
  }
  Seal(data_key, out);
}

Status DecodeDataRecord(std::string_view data_key, std::string_view bytes, DataRecord* record) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(data_key, bytes, &body));
  *record = {};
  uint8_t flags = 0;
  if (!ConsumeByte(&body, &flags) || flags > kTombstoneFlag) {
    return BadRecord(data_key, "is malformed");
  }
  if (flags == kTombstoneFlag) {
    if (!body.empty()) return BadRecord(data_key, "is malformed");
    record->tombstone = true;
    return Status::Ok();
  }
  uint64_t age = 0;
  uint64_t version = 0;
  uint64_t lease = 0;
  const auto mod = static_cast<uint64_t>(DataKeyRevision(data_key).main);
  if (!ConsumeVarint(&body, &age) || !ConsumeVarint(&body, &version) ||
      !ConsumeVarint(&body, &lease) || age >= mod) {
    return BadRecord(data_key, "is malformed");
  }
  record->create_revision = static_cast<int64_t>(mod - age);
  record->version = static_cast<int64_t>(version);
  record->lease = static_cast<int64_t>(lease);
  record->value = body;
  return Status::Ok();
}

void EncodeRevisionRecord(std::string_view revision_key, Revision revision,
                          const RevisionRecord& record, std::string* out) {
  Begin(out);
  const bool has_previous = !record.previous.none();
  out->push_back(static_cast<char>((record.tombstone ? kTombstoneFlag : 0) |
                                   (has_previous ? kPreviousFlag : 0)));
  if (has_previous) {
    AppendVarint(out, static_cast<uint64_t>(revision.main - record.previous.main));
    AppendVarint(out, record.previous.sub);
  }
  out->append(record.user_key);
  Seal(revision_key, out);
}

Status DecodeRevisionRecord(std::string_view revision_key, std::string_view bytes,
                            RevisionRecord* record) {
  Revision revision;
  RAFTKV_RETURN_IF_ERROR(DecodeRevisionKey(revision_key, &revision));
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(revision_key, bytes, &body));
  *record = {};
  uint8_t flags = 0;
  if (!ConsumeByte(&body, &flags) || (flags & ~(kTombstoneFlag | kPreviousFlag)) != 0) {
    return BadRecord(revision_key, "is malformed");
  }
  record->tombstone = (flags & kTombstoneFlag) != 0;
  if ((flags & kPreviousFlag) != 0) {
    uint64_t age = 0;
    uint64_t sub = 0;
    if (!ConsumeVarint(&body, &age) || !ConsumeVarint(&body, &sub) ||
        age >= static_cast<uint64_t>(revision.main) || sub > UINT32_MAX) {
      return BadRecord(revision_key, "is malformed");
    }
    record->previous = {revision.main - static_cast<int64_t>(age), static_cast<uint32_t>(sub)};
  }
  record->user_key = body;
  return Status::Ok();
}

std::string EncodeAppliedRecord(const AppliedRecord& record) {
  std::string out;
  Begin(&out);
  AppendLittleEndian64(&out, record.position.index.value());
  AppendLittleEndian64(&out, record.position.term.value());
  AppendLittleEndian64(&out, static_cast<uint64_t>(record.revision));
  AppendLittleEndian64(&out, static_cast<uint64_t>(record.compact_revision));
  AppendLittleEndian64(&out, static_cast<uint64_t>(record.compacted_to));
  AppendLittleEndian64(&out, record.time_ms);
  AppendLittleEndian64(&out, record.sessions);
  AppendLittleEndian64(&out, static_cast<uint64_t>(record.bumped_to));
  if (record.session_limits != SessionLimits()) {
    out[0] = static_cast<char>(kAppliedVersionWithLimits);
    AppendLittleEndian64(&out, record.session_limits.sessions_max);
    AppendLittleEndian64(&out, record.session_limits.ttl_ms);
  }
  Seal(AppliedKey(), &out);
  return out;
}

StatusOr<AppliedRecord> DecodeAppliedRecord(std::string_view bytes) {
  const std::string key = AppliedKey();
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(key, bytes, &body));
  uint64_t fields[8];
  for (uint64_t& field : fields) {
    if (!ConsumeLittleEndian64(&body, &field)) return BadRecord(key, "is cut off");
  }
  AppliedRecord record;
  if (bytes[0] == kAppliedVersionWithLimits &&
      (!ConsumeLittleEndian64(&body, &record.session_limits.sessions_max) ||
       !ConsumeLittleEndian64(&body, &record.session_limits.ttl_ms))) {
    return BadRecord(key, "is cut off");
  }
  if (!body.empty()) return BadRecord(key, "is malformed");
  record.position = {Index(fields[0]), Term(fields[1])};
  record.revision = static_cast<int64_t>(fields[2]);
  record.compact_revision = static_cast<int64_t>(fields[3]);
  record.compacted_to = static_cast<int64_t>(fields[4]);
  record.time_ms = fields[5];
  record.sessions = fields[6];
  record.bumped_to = static_cast<int64_t>(fields[7]);
  if (record.revision < 1 || record.compact_revision < 0 || record.compacted_to < 0 ||
      record.compact_revision > record.revision || record.compacted_to > record.compact_revision ||
      record.bumped_to < 0 || record.bumped_to > record.revision) {
    return BadRecord(key, "contradicts itself");
  }
  return record;
}

std::string EncodeSessionRecord(std::string_view session_key, const SessionRecord& record) {
  std::string out;
  Begin(&out);
  AppendVarint(&out, record.sequence);
  AppendVarint(&out, record.last_used_ms);
  out.push_back(static_cast<char>(record.kind));
  AppendVarint(&out, StatusNumber(record.status.code()));
  AppendLengthPrefixed(&out, record.status.message());
  out.append(record.answer);
  Seal(session_key, &out);
  return out;
}

StatusOr<SessionRecord> DecodeSessionRecord(std::string_view session_key, std::string_view bytes) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(session_key, bytes, &body));
  SessionRecord record;
  uint8_t kind = 0;
  uint64_t number = 0;
  std::string_view message;
  Code code = Code::kOk;
  if (!ConsumeVarint(&body, &record.sequence) || !ConsumeVarint(&body, &record.last_used_ms) ||
      !ConsumeByte(&body, &kind) || kind > static_cast<uint8_t>(AnswerKind::kAlarm) ||
      !ConsumeVarint(&body, &number) || !ConsumeLengthPrefixed(&body, &message) ||
      !StatusCode(number, &code)) {
    return BadRecord(session_key, "is malformed");
  }
  record.kind = static_cast<AnswerKind>(kind);
  if (code != Code::kOk) record.status = Status(code, std::string(message));
  record.answer = std::string(body);
  return record;
}

std::string EncodeSessionTimeRecord(std::string_view key) {
  std::string out;
  Begin(&out);
  Seal(key, &out);
  return out;
}

Status DecodeSessionTimeRecord(std::string_view key, std::string_view bytes) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(key, bytes, &body));
  return body.empty() ? Status::Ok() : BadRecord(key, "is malformed");
}

std::string EncodeMemberRecord(std::string_view key, std::string_view member) {
  std::string out;
  Begin(&out);
  out.append(member);
  Seal(key, &out);
  return out;
}

StatusOr<std::string_view> DecodeMemberRecord(std::string_view key, std::string_view bytes) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(key, bytes, &body));
  return body;
}

std::string EncodeConfigRecord(const Membership& membership) {
  std::string out;
  Begin(&out);
  out.append(EncodeMembership(membership));
  Seal(ConfigKey(), &out);
  return out;
}

StatusOr<Membership> DecodeConfigRecord(std::string_view bytes) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(Open(ConfigKey(), bytes, &body));
  StatusOr<Membership> membership = DecodeMembership(body);
  if (!membership.ok()) {
    return BadRecord(ConfigKey(), "holds no configuration: " + membership.status().message());
  }
  return membership;
}

std::string EncodeAlarmRecord(std::string_view key) { return EncodeSessionTimeRecord(key); }

Status DecodeAlarmRecord(std::string_view key, std::string_view bytes) {
  return DecodeSessionTimeRecord(key, bytes);
}

Status CheckRecord(std::string_view key, std::string_view bytes) {
  std::string_view body;
  return Open(key, bytes, &body);
}

}  // namespace raftkv::store
