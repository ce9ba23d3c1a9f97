// Keys and records of the applied state (src/store/mvcc.h). The input is a choice, a key and a
// record; the record is sealed, or not.
#include "fuzz/fuzz.h"
#include "fuzz/kv_seal.h"
#include "store/mvcc.h"

namespace raftkv::fuzz {
namespace {

constexpr uint8_t kSealed = 0x80;

void DecodeKeys(std::string_view key) {
  std::string user_key;
  std::string_view client;
  store::Revision revision;
  uint64_t second_ms = 0;
  NodeId node;
  uint8_t type = 0;
  if (store::DecodeDataKey(key, &user_key, &revision).ok()) {
    Require(store::DataKey(user_key, revision) == key, "a data key has two encodings");
  }
  if (store::DecodeRevisionKey(key, &revision).ok()) {
    Require(store::RevisionKey(revision) == key, "a revision key has two encodings");
  }
  if (store::DecodeSessionKey(key, &client).ok()) {
    Require(store::SessionKey(client) == key, "a session key has two encodings");
  }
  (void)store::DecodeSessionTimeKey(key, &second_ms, &client);
  (void)store::DecodeMemberKey(key, &node);
  (void)store::DecodeAlarmKey(key, &node, &type);
  (void)store::Printable(key);
}

}  // namespace

FUZZ_TARGET(kv_record) {
  const uint8_t choice = TakeByte(&input);
  const std::vector<std::string_view> pieces = Pieces(input);
  const std::string key(pieces.empty() ? "" : pieces[0]);
  std::string record(pieces.size() < 2 ? "" : pieces[1]);
  if ((choice & kSealed) != 0) SealKvRecord(key, &record);
  DecodeKeys(key);
  (void)store::CheckRecord(key, record);
  store::DataRecord data;
  (void)store::DecodeDataRecord(key, record, &data);
  store::RevisionRecord revision;
  (void)store::DecodeRevisionRecord(key, record, &revision);
  (void)store::DecodeSessionRecord(key, record);
  (void)store::DecodeSessionTimeRecord(key, record);
  (void)store::DecodeMemberRecord(key, record);
  (void)store::DecodeAlarmRecord(key, record);
  // These have one key each.
  std::string body(pieces.size() < 2 ? "" : pieces[1]);
  SealKvRecord((choice & 1) != 0 ? store::AppliedKey() : store::ConfigKey(), &body);
  if (const auto applied = store::DecodeAppliedRecord(body); applied.ok()) {
    const auto again = store::DecodeAppliedRecord(store::EncodeAppliedRecord(*applied));
    Require(again.ok() && *again == *applied, "an applied record changed when it was encoded");
  }
  (void)store::DecodeConfigRecord(body);
}

}  // namespace raftkv::fuzz
