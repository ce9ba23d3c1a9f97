// The records of the log and of raft_meta: their exact bytes, and that no damaged bit gets through.
#include <gtest/gtest.h>

#include "common/coding.h"
#include "common/sealed_record.h"
#include "store/identity_codec.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::wal {
namespace {

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    out.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
  }
  return out;
}

Entry MakeEntry(uint64_t index, uint64_t term, EntryKind kind, const std::string& payload) {
  Entry entry{Index(index), Term(term), kind, nullptr};
  if (!payload.empty()) entry.payload = std::make_shared<const std::string>(payload);
  return entry;
}

// Calls `decode` with every one-bit change and every truncation of `record`, and with a byte more.
template <typename Decode>
void ExpectEveryDamageIsSeen(const std::string& record, Decode decode) {
  ASSERT_TRUE(decode(record));
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::string flipped = record;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(decode(flipped)) << "bit " << bit;
  }
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_FALSE(decode(record.substr(0, size))) << "cut to " << size;
  }
  EXPECT_FALSE(decode(record + '\0'));
}

// The golden bytes were computed from the documented layout by an independent implementation of
// CRC-32C, not by this code.
TEST(Codec, GoldenBytes) {
  EXPECT_EQ(Hex(EncodeEntry(MakeEntry(5, 3, EntryKind::kCommand, "hello"))),
            "0101030000000000000068656c6c6f6135f7ce");
  EXPECT_EQ(Hex(EncodeHardState({Term(7), NodeId(2), Index(41)})),
            "010700000000000000020000000000000029000000000000001a2e3dda");
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  membership.learners = {NodeId(300)};
  EXPECT_EQ(Hex(EncodeMembershipRecord(membership)), "02030102030001ac02000036cdd5ba");
  EXPECT_EQ(Hex(EncodeLogStart({Index(99), Term(6)})),
            "0163000000000000000600000000000000d22aa74d");
  store::NodeIdentity identity;
  identity.cluster = ClusterId(0x1122334455667788);
  identity.node = NodeId(2);
  identity.node_name = "n2";
  EXPECT_EQ(Hex(store::EncodeIdentity(identity)),
            "010100000088776655443322110200000000000000026e32d21ccbfe");
}

TEST(Codec, LogKeysSortByIndexAndParseBack) {
  EXPECT_LT(LogKey(Index(255)), LogKey(Index(256)));
  EXPECT_EQ(Hex(LogKey(Index(0x0102))), "0000000000000102");
  EXPECT_EQ(ParseLogKey(LogKey(Index(UINT64_MAX))), Index(UINT64_MAX));
  EXPECT_EQ(ParseLogKey(LogKey(Index(0))), std::nullopt);
  EXPECT_EQ(ParseLogKey("1234567"), std::nullopt);
  EXPECT_EQ(ParseLogKey("123456789"), std::nullopt);
}

TEST(Codec, EntriesRoundTrip) {
  for (const std::string& payload :
       {std::string(), std::string("a\0b", 3), std::string(70000, 'x')}) {
    const Entry in = MakeEntry(12, 9, EntryKind::kCommand, payload);
    const StatusOr<Entry> out = DecodeEntry(Index(12), EncodeEntry(in));
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ(out->index, Index(12));
    EXPECT_EQ(out->term, Term(9));
    EXPECT_EQ(out->kind, EntryKind::kCommand);
    EXPECT_EQ(out->bytes(), payload);
  }
}

TEST(Codec, AnEntryUnderAnotherIndexIsFoundOut) {
  const std::string record = EncodeEntry(MakeEntry(12, 9, EntryKind::kNoop, ""));
  EXPECT_TRUE(DecodeEntry(Index(12), record).ok());
  const StatusOr<Entry> out = DecodeEntry(Index(13), record);
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.status().code(), Code::kCorruption);
  EXPECT_NE(out.status().message().find("13"), std::string::npos);
}

TEST(Codec, EveryDamagedBitOfAnEntryIsSeen) {
  const std::string record = EncodeEntry(MakeEntry(5, 3, EntryKind::kCommand, "some payload"));
  ExpectEveryDamageIsSeen(record,
                          [](const std::string& r) { return DecodeEntry(Index(5), r).ok(); });
}

// What the first version wrote: a membership record without addresses.
TEST(Codec, ReadsTheFirstFormatOfTheMembership) {
  const std::string record =
      "\x01\x03\x01\x02\x03" + std::string(1, '\0') + "\x01\xac\x02\x41\x8b\x66\x1a";
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  membership.learners = {NodeId(300)};
  const auto read = DecodeMembershipRecord(record);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, membership);
}

TEST(Codec, EveryDamagedBitOfTheMetaRecordsIsSeen) {
  ExpectEveryDamageIsSeen(EncodeHardState({Term(7), NodeId(2), Index(41)}),
                          [](const std::string& r) { return DecodeHardState(r).ok(); });
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  ExpectEveryDamageIsSeen(EncodeMembershipRecord(membership),
                          [](const std::string& r) { return DecodeMembershipRecord(r).ok(); });
  ExpectEveryDamageIsSeen(EncodeLogStart({Index(99), Term(6)}),
                          [](const std::string& r) { return DecodeLogStart(r).ok(); });
  store::NodeIdentity identity;
  identity.cluster = ClusterId(1);
  identity.node = NodeId(2);
  identity.node_name = "n2";
  ExpectEveryDamageIsSeen(store::EncodeIdentity(identity),
                          [](const std::string& r) { return store::DecodeIdentity(r).ok(); });
}

TEST(Codec, MetaRecordsRoundTrip) {
  const HardState hard_state{Term(UINT64_MAX), NodeId(UINT64_MAX), Index(1)};
  EXPECT_EQ(*DecodeHardState(EncodeHardState(hard_state)), hard_state);
  Membership membership;
  membership.voters = {NodeId(1), NodeId(UINT64_MAX)};
  membership.outgoing = {NodeId(4), NodeId(5)};
  membership.learners = {NodeId(5), NodeId(9)};
  membership.removed = {NodeId(3)};
  membership.info[NodeId(9)] = {{"http://127.0.0.1:2380", "http://[::1]:2380"}, true};
  membership.info[NodeId(UINT64_MAX)] = {};
  EXPECT_EQ(*DecodeMembershipRecord(EncodeMembershipRecord(membership)), membership);
  const LogPosition start{Index(10), Term(2)};
  EXPECT_EQ(*DecodeLogStart(EncodeLogStart(start)), start);
  store::NodeIdentity identity;
  identity.cluster = ClusterId(UINT64_MAX);
  identity.node = NodeId(3);
  identity.node_name = std::string("a\0 name", 7);
  EXPECT_EQ(*store::DecodeIdentity(store::EncodeIdentity(identity)), identity);
}

// A newer version's records must not look like damage: the answer is another binary, not a backup.
TEST(Codec, NewerVersionsAreToldFromDamage) {
  std::string entry = EncodeEntry(MakeEntry(5, 3, EntryKind::kCommand, "x"));
  entry.resize(entry.size() - kEntrySealBytes);
  entry[0] = kEntryVersion + 1;
  const std::string key = LogKey(Index(5));
  AppendLittleEndian32(&entry, SealOf(key, entry));
  EXPECT_EQ(DecodeEntry(Index(5), entry).status().code(), Code::kFailedPrecondition);

  store::NodeIdentity identity;
  identity.format_version = store::kFormatVersion + 1;
  const Status newer = store::DecodeIdentity(store::EncodeIdentity(identity)).status();
  EXPECT_EQ(newer.code(), Code::kFailedPrecondition);
  EXPECT_NE(newer.message().find("format version 2"), std::string::npos) << newer;
}

}  // namespace
}  // namespace raftkv::wal
