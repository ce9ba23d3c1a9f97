// Records of the Raft log and its metadata (src/wal/entry_codec.h, src/store/identity_codec.h). The
// first byte chooses the record and whether to seal it: no fuzzer guesses a checksum.
#include "common/sealed_record.h"
#include "fuzz/fuzz.h"
#include "store/identity_codec.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::fuzz {
namespace {

constexpr uint8_t kSealed = 0x80;

// What decodes must encode to the same bytes: there is one way to write each record.
template <typename Decoder, typename Encoder>
void RoundTrip(const std::string& record, const Decoder& decode, const Encoder& encode) {
  const auto decoded = decode(record);
  if (decoded.ok()) Require(encode(*decoded) == record, "a record has two encodings");
}

}  // namespace

FUZZ_TARGET(log_record) {
  const uint8_t choice = TakeByte(&input);
  const Index index(7);
  std::string record(input);
  const auto seal = [&](std::string_view key) {
    if ((choice & kSealed) != 0) Seal(key, &record);
  };
  switch (choice & 7) {
    case 0:
      seal(wal::LogKey(index));
      return RoundTrip(
          record, [&](const auto& bytes) { return wal::DecodeEntry(index, bytes); },
          wal::EncodeEntry);
    case 1:
      seal(wal::kHardStateKey);
      return RoundTrip(record, wal::DecodeHardState, wal::EncodeHardState);
    case 2:
      seal(wal::kMembershipKey);
      // No round trip: version 1 is read and never written.
      return (void)wal::DecodeMembershipRecord(record);
    case 3:
      seal(wal::kLogStartKey);
      return RoundTrip(record, wal::DecodeLogStart, wal::EncodeLogStart);
    case 4:
      seal(store::kIdentityKey);
      return (void)store::DecodeIdentity(record);
    case 5:
      seal(store::kKvFamilyKey);
      return (void)store::DecodeKvFamily(record);
    default:
      return (void)wal::ParseLogKey(record);
  }
}

}  // namespace raftkv::fuzz
