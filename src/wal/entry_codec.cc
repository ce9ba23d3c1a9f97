#include "wal/entry_codec.h"

#include <algorithm>
#include <optional>

#include "common/coding.h"
#include "common/membership_codec.h"
#include "common/sealed_record.h"
#include "wal/keys.h"

namespace raftkv::wal {
namespace {

Status Damaged(const std::string& what, const std::string& why) {
  return Status(Code::kCorruption, what + " " + why);
}

// Checks seal and version, and leaves in `body` what follows the version byte.
Status OpenRecord(const std::string& what, std::string_view key, std::string_view record,
                  uint8_t version, std::string_view* body) {
  const std::optional<std::string_view> sealed = OpenSealed(key, record);
  if (!sealed) return Damaged(what, "is damaged: its checksum does not match");
  *body = *sealed;
  uint8_t found = 0;
  if (!ConsumeByte(body, &found) || found == 0) return Damaged(what, "has no version");
  if (found > version) {
    return Status(Code::kFailedPrecondition,
                  what + " has format version " + std::to_string(found) +
                      ", this program knows up to " + std::to_string(version) +
                      "; run the version of raftkv that wrote it, or a newer one");
  }
  return Status::Ok();
}

}  // namespace

EntryFrame FrameEntry(const Entry& entry) {
  EntryFrame frame;
  StoreBigEndian(frame.key.data(), entry.index.value());
  frame.header[0] = static_cast<char>(kEntryVersion);
  frame.header[1] = static_cast<char>(entry.kind);
  StoreLittleEndian(&frame.header[2], entry.term.value());
  const uint32_t seal =
      SealOf({frame.key.data(), frame.key.size()}, {frame.header.data(), frame.header.size()});
  StoreLittleEndian(frame.seal.data(), ExtendCrc32c(seal, entry.bytes()));
  return frame;
}

std::string EncodeEntry(const Entry& entry) {
  const EntryFrame frame = FrameEntry(entry);
  std::string record;
  record.reserve(frame.header.size() + entry.bytes().size() + frame.seal.size());
  record.append(frame.header.data(), frame.header.size());
  record.append(entry.bytes());
  record.append(frame.seal.data(), frame.seal.size());
  return record;
}

StatusOr<EntryView> DecodeEntryView(Index index, std::string_view record) {
  // The name is built on failure only: a start decodes every entry of the log.
  const std::string key = LogKey(index);
  const std::optional<std::string_view> sealed = OpenSealed(key, record);
  std::string_view body = sealed.value_or("");
  uint8_t version = 0;
  if (!sealed || !ConsumeByte(&body, &version) || version != kEntryVersion) {
    const std::string what = "log entry " + std::to_string(index.value());
    RAFTKV_RETURN_IF_ERROR(OpenRecord(what, key, record, kEntryVersion, &body));
    return Damaged(what, "has no version");
  }
  uint8_t kind = 0;
  uint64_t term = 0;
  if (!ConsumeByte(&body, &kind) || !ConsumeLittleEndian64(&body, &term) || term == 0 ||
      kind > static_cast<uint8_t>(EntryKind::kConfig)) {
    return Damaged("log entry " + std::to_string(index.value()), "has a malformed header");
  }
  return EntryView{Term(term), static_cast<EntryKind>(kind), body};
}

StatusOr<Entry> DecodeEntry(Index index, std::string_view record) {
  RAFTKV_ASSIGN_OR_RETURN(const EntryView view, DecodeEntryView(index, record));
  Entry entry{index, view.term, view.kind, nullptr};
  if (!view.payload.empty()) entry.payload = std::make_shared<const std::string>(view.payload);
  return entry;
}

std::string EncodeHardState(const HardState& hard_state) {
  std::string record(1, static_cast<char>(kHardStateVersion));
  AppendLittleEndian64(&record, hard_state.term.value());
  AppendLittleEndian64(&record, hard_state.vote.value());
  AppendLittleEndian64(&record, hard_state.commit.value());
  Seal(kHardStateKey, &record);
  return record;
}

StatusOr<HardState> DecodeHardState(std::string_view record) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(
      OpenRecord("the hard state record", kHardStateKey, record, kHardStateVersion, &body));
  uint64_t term = 0, vote = 0, commit = 0;
  if (!ConsumeLittleEndian64(&body, &term) || !ConsumeLittleEndian64(&body, &vote) ||
      !ConsumeLittleEndian64(&body, &commit) || !body.empty()) {
    return Damaged("the hard state record", "has the wrong size");
  }
  return HardState{Term(term), NodeId(vote), Index(commit)};
}

std::string EncodeMembershipRecord(const Membership& membership) {
  std::string record = EncodeMembership(membership);
  Seal(kMembershipKey, &record);
  return record;
}

StatusOr<Membership> DecodeMembershipRecord(std::string_view record) {
  const std::string what = "the membership record";
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(OpenRecord(what, kMembershipKey, record, kMembershipVersion, &body));
  const std::string_view sealed = record.substr(0, record.size() - kSealBytes);
  if (static_cast<uint8_t>(sealed.front()) == 1) {
    const std::optional<Membership> first_format = DecodeMembershipV1(body);
    if (!first_format) return Damaged(what, "has malformed lists of ids");
    return *first_format;
  }
  const StatusOr<Membership> membership = DecodeMembership(sealed);
  if (!membership.ok()) return Damaged(what, "is malformed");
  return membership;
}

std::string EncodeLogStart(const LogPosition& before_first) {
  std::string record(1, static_cast<char>(kLogStartVersion));
  AppendLittleEndian64(&record, before_first.index.value());
  AppendLittleEndian64(&record, before_first.term.value());
  Seal(kLogStartKey, &record);
  return record;
}

StatusOr<LogPosition> DecodeLogStart(std::string_view record) {
  std::string_view body;
  RAFTKV_RETURN_IF_ERROR(
      OpenRecord("the log start record", kLogStartKey, record, kLogStartVersion, &body));
  uint64_t index = 0, term = 0;
  if (!ConsumeLittleEndian64(&body, &index) || !ConsumeLittleEndian64(&body, &term) ||
      !body.empty()) {
    return Damaged("the log start record", "has the wrong size");
  }
  return LogPosition{Index(index), Term(term)};
}

}  // namespace raftkv::wal
