// Keys and records of the kv column family: order, round trips, and that damage is found.
#include "store/mvcc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "common/rng.h"

namespace raftkv::store {
namespace {

using testing::HasSubstr;
using std::string_literals::operator""s;

std::string RandomKey(Rng* rng) {
  // Few distinct bytes, and those the escape is about, so that prefixes and ties are common.
  constexpr char kBytes[] = {'\x00', '\x01', '\x02', 'a', '\xfe', '\xff'};
  std::string key;
  for (uint64_t i = rng->Below(6); i > 0; --i) key.push_back(kBytes[rng->Below(sizeof(kBytes))]);
  return key;
}

TEST(DataKey, RoundTripsAnyBytes) {
  for (const std::string& key :
       {"a"s, "\0"s, "\0\0"s, "a\0"s, "\xff\xff"s, "\0\x01"s, "a\0\xff"s, ""s}) {
    for (const Revision revision :
         {Revision{1, 0}, Revision{2, 7}, Revision{INT64_MAX, UINT32_MAX}}) {
      const std::string encoded = DataKey(key, revision);
      std::string decoded;
      Revision decoded_revision;
      ASSERT_TRUE(DecodeDataKey(encoded, &decoded, &decoded_revision).ok());
      EXPECT_EQ(decoded, key);
      EXPECT_EQ(decoded_revision, revision);
      EXPECT_EQ(DataPrefixOf(encoded), DataPrefix(key));
    }
  }
}

TEST(DataKey, OrderIsByUserKeyThenNewestFirst) {
  Rng rng(1);
  for (int i = 0; i < 100'000; ++i) {
    const std::string a = RandomKey(&rng);
    const std::string b = RandomKey(&rng);
    const Revision ra{static_cast<int64_t>(rng.Between(1, 3)), static_cast<uint32_t>(rng.Below(3))};
    const Revision rb{static_cast<int64_t>(rng.Between(1, 3)), static_cast<uint32_t>(rng.Below(3))};
    const bool expected = a != b ? a < b : ra > rb;
    ASSERT_EQ(DataKey(a, ra) < DataKey(b, rb), expected)
        << Printable(a) << " " << ra.main << " / " << Printable(b) << " " << rb.main;
    // What begins with the bytes of `a` as a user key begins with them as a data key.
    ASSERT_EQ(b.starts_with(a), DataKey(b, rb).starts_with(DataKeysStartingWith(a)));
    // No key's versions begin with another key's prefix.
    ASSERT_EQ(a == b, DataKey(b, rb).starts_with(DataPrefix(a)));
  }
}

TEST(DataKey, MalformedKeysAreRefused) {
  std::string user_key;
  Revision revision;
  const std::string suffix(kRevisionBytes, '\x80');
  for (const std::string& bad :
       {""s, "d"s, "d" + suffix, "da" + suffix, "da\0" + suffix, "da\0\x02"s + suffix,
        "da\0\x01z"s + suffix, "ra\0\x01"s + suffix}) {
    EXPECT_EQ(DecodeDataKey(bad, &user_key, &revision).code(), Code::kCorruption) << Printable(bad);
  }
}

TEST(RevisionKey, OrderIsByRevision) {
  EXPECT_LT(RevisionKey({1, UINT32_MAX}), RevisionKey({2, 0}));
  EXPECT_LT(RevisionKey({255, 0}), RevisionKey({256, 0}));
  EXPECT_LT(RevisionKey({2, 255}), RevisionKey({2, 256}));
  Revision revision;
  ASSERT_TRUE(DecodeRevisionKey(RevisionKey({77, 5}), &revision).ok());
  EXPECT_EQ(revision, (Revision{77, 5}));
  EXPECT_FALSE(DecodeRevisionKey("r1234", &revision).ok());
  EXPECT_FALSE(DecodeRevisionKey(RevisionKey({77, 5}) + "x", &revision).ok());
  EXPECT_FALSE(DecodeRevisionKey(RevisionKey({0, 5}), &revision).ok());
}

TEST(SessionKeys, RoundTrip) {
  std::string_view client;
  const std::string session_key = SessionKey("c\0d"s);
  ASSERT_TRUE(DecodeSessionKey(session_key, &client).ok());
  EXPECT_EQ(client, "c\0d"s);
  const std::string time_key = SessionTimeKey(12'345, "c1");
  uint64_t second_ms = 0;
  ASSERT_TRUE(DecodeSessionTimeKey(time_key, &second_ms, &client).ok());
  EXPECT_EQ(second_ms, 12'000u);
  EXPECT_EQ(client, "c1");
  EXPECT_LT(SessionTimeKey(255'999, "z"), SessionTimeKey(256'000, "a"));
  NodeId node;
  ASSERT_TRUE(DecodeMemberKey(MemberKey(NodeId(9)), &node).ok());
  EXPECT_EQ(node, NodeId(9));
}

TEST(DataRecord, RoundTrips) {
  const std::string key = DataKey("k", {300, 2});
  std::string bytes;
  EncodeDataRecord(key, 300, {false, 40, 7, -5, "value\0x"}, &bytes);
  DataRecord record;
  ASSERT_TRUE(DecodeDataRecord(key, bytes, &record).ok());
  EXPECT_FALSE(record.tombstone);
  EXPECT_EQ(record.create_revision, 40);
  EXPECT_EQ(record.version, 7);
  EXPECT_EQ(record.lease, -5);
  EXPECT_EQ(record.value, "value\0x");

  EncodeDataRecord(key, 300, {.tombstone = true}, &bytes);
  ASSERT_TRUE(DecodeDataRecord(key, bytes, &record).ok());
  EXPECT_TRUE(record.tombstone);
}

TEST(DataRecord, OneUnderAKeyWithoutRoomForARevisionIsRefused) {
  std::string bytes;
  EncodeDataRecord("d", 300, {false, 40, 7, -5, "value"}, &bytes);
  DataRecord record;
  EXPECT_EQ(DecodeDataRecord("d", bytes, &record).code(), Code::kCorruption);
}

TEST(RevisionRecord, RoundTrips) {
  for (const Revision previous :
       {Revision{}, Revision{1, 0}, Revision{299, 12}, Revision{300, 1}}) {
    for (const bool tombstone : {false, true}) {
      const std::string key = RevisionKey({300, 2});
      std::string bytes;
      EncodeRevisionRecord(key, {300, 2}, {tombstone, previous, "k\0ey"}, &bytes);
      RevisionRecord record;
      ASSERT_TRUE(DecodeRevisionRecord(key, bytes, &record).ok());
      EXPECT_EQ(record.tombstone, tombstone);
      EXPECT_EQ(record.previous, previous);
      EXPECT_EQ(record.user_key, "k\0ey");
    }
  }
}

AppliedRecord SomeApplied() {
  return {.position = {Index(9), Term(3)},
          .revision = 100,
          .compact_revision = 50,
          .compacted_to = 40,
          .time_ms = 1234567,
          .sessions = 3};
}

TEST(AppliedRecord, RoundTripsAndRefusesNonsense) {
  const auto decoded = DecodeAppliedRecord(EncodeAppliedRecord(SomeApplied()));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, SomeApplied());

  AppliedRecord bad = SomeApplied();
  bad.compact_revision = 101;
  EXPECT_EQ(DecodeAppliedRecord(EncodeAppliedRecord(bad)).status().code(), Code::kCorruption);
  bad = SomeApplied();
  bad.compacted_to = 51;
  EXPECT_EQ(DecodeAppliedRecord(EncodeAppliedRecord(bad)).status().code(), Code::kCorruption);
  bad = SomeApplied();
  bad.revision = 0;
  EXPECT_EQ(DecodeAppliedRecord(EncodeAppliedRecord(bad)).status().code(), Code::kCorruption);
}

// An older program knows version 1 only, and can't take such a state for one of its own.
TEST(AppliedRecord, OtherThanDefaultSessionLimitsMakeItVersion2) {
  AppliedRecord record = SomeApplied();
  const std::string plain = EncodeAppliedRecord(record);
  EXPECT_EQ(plain[0], 1);
  record.session_limits = {.sessions_max = UINT64_MAX, .ttl_ms = 0};
  std::string bytes = EncodeAppliedRecord(record);
  EXPECT_EQ(bytes[0], 2);
  EXPECT_EQ(bytes.size(), plain.size() + 16);
  EXPECT_EQ(*DecodeAppliedRecord(bytes), record);
  EXPECT_TRUE(CheckRecord(AppliedKey(), bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeAppliedRecord(bytes.substr(0, size)).status().code(), Code::kCorruption);
  }
  bytes[0] = 3;
  EXPECT_NE(DecodeAppliedRecord(bytes).status().message().find("format version 3"),
            std::string::npos);
  std::string config = EncodeConfigRecord({});
  config[0] = 2;
  EXPECT_NE(CheckRecord(ConfigKey(), config).message().find("format version 2"), std::string::npos)
      << "no other record has a version 2";
}

TEST(SessionRecord, RoundTripsAnswersAndErrors) {
  SessionRecord record{
      .sequence = 5, .last_used_ms = 99, .kind = AnswerKind::kPut, .answer = "xyz"};
  auto decoded = DecodeSessionRecord("sc", EncodeSessionRecord("sc", record));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->sequence, 5u);
  EXPECT_EQ(decoded->last_used_ms, 99u);
  EXPECT_EQ(decoded->kind, AnswerKind::kPut);
  EXPECT_EQ(decoded->answer, "xyz");
  EXPECT_TRUE(decoded->status.ok());

  for (const Code code : {Code::kInvalidArgument, Code::kNotFound, Code::kOutOfRange,
                          Code::kFailedPrecondition, Code::kResourceExhausted}) {
    record = {.sequence = 1, .status = Status(code, "why")};
    decoded = DecodeSessionRecord("sc", EncodeSessionRecord("sc", record));
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded->status, Status(code, "why"));
  }
}

// Every record, and how to decode it under a key.
struct Sealed {
  std::string what;
  std::string key;
  std::string bytes;
  std::function<Status(std::string_view, std::string_view)> decode;
};

std::vector<Sealed> AllRecords() {
  std::vector<Sealed> all;
  std::string bytes;
  const std::string data_key = DataKey("key", {300, 2});
  auto decode_data = [](std::string_view k, std::string_view v) {
    DataRecord record;
    return DecodeDataRecord(k, v, &record);
  };
  EncodeDataRecord(data_key, 300, {false, 40, 7, 0, "a value"}, &bytes);
  all.push_back({"data", data_key, bytes, decode_data});
  EncodeDataRecord(data_key, 300, {.tombstone = true}, &bytes);
  all.push_back({"tombstone", data_key, bytes, decode_data});
  const std::string revision_key = RevisionKey({300, 2});
  EncodeRevisionRecord(revision_key, {300, 2}, {false, {7, 1}, "key"}, &bytes);
  all.push_back({"revision", revision_key, bytes, [](std::string_view k, std::string_view v) {
                   RevisionRecord record;
                   return DecodeRevisionRecord(k, v, &record);
                 }});
  all.push_back(
      {"session", SessionKey("client"),
       EncodeSessionRecord(SessionKey("client"), {.sequence = 5, .answer = "xyz"}),
       [](std::string_view k, std::string_view v) { return DecodeSessionRecord(k, v).status(); }});
  all.push_back({"session time", SessionTimeKey(5, "client"),
                 EncodeSessionTimeRecord(SessionTimeKey(5, "client")), DecodeSessionTimeRecord});
  all.push_back(
      {"member", MemberKey(NodeId(1)), EncodeMemberRecord(MemberKey(NodeId(1)), "pb"),
       [](std::string_view k, std::string_view v) { return DecodeMemberRecord(k, v).status(); }});
  return all;
}

TEST(Damage, EveryFlippedBitIsFound) {
  for (const Sealed& record : AllRecords()) {
    SCOPED_TRACE(record.what);
    ASSERT_TRUE(record.decode(record.key, record.bytes).ok());
    for (size_t bit = 0; bit < record.bytes.size() * 8; ++bit) {
      std::string damaged = record.bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_EQ(record.decode(record.key, damaged).code(), Code::kCorruption) << "bit " << bit;
    }
    for (size_t bit = 0; bit < record.key.size() * 8; ++bit) {
      std::string damaged = record.key;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_EQ(record.decode(damaged, record.bytes).code(), Code::kCorruption)
          << "key bit " << bit;
    }
  }
}

TEST(Damage, EveryCutIsFound) {
  for (const Sealed& record : AllRecords()) {
    SCOPED_TRACE(record.what);
    for (size_t size = 0; size < record.bytes.size(); ++size) {
      EXPECT_EQ(record.decode(record.key, record.bytes.substr(0, size)).code(), Code::kCorruption);
    }
    EXPECT_EQ(record.decode(record.key, record.bytes + "x").code(), Code::kCorruption);
  }
}

TEST(Damage, AppliedRecordBitsAndCuts) {
  const std::string bytes = EncodeAppliedRecord(SomeApplied());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(DecodeAppliedRecord(damaged).status().code(), Code::kCorruption) << "bit " << bit;
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeAppliedRecord(bytes.substr(0, size)).status().code(), Code::kCorruption);
  }
}

TEST(Damage, MessagesNameTheKeyAndANewerFormat) {
  const std::string key = DataKey("user/1", {3, 0});
  std::string bytes;
  EncodeDataRecord(key, 3, {false, 3, 1, 0, "v"}, &bytes);
  DataRecord record;
  std::string newer = bytes;
  newer[0] = 2;
  EXPECT_THAT(DecodeDataRecord(key, newer, &record).message(), HasSubstr("format version 2"));
  std::string damaged = bytes;
  damaged.back() ^= 1;
  EXPECT_THAT(DecodeDataRecord(key, damaged, &record).message(), HasSubstr("user/1"));
}

}  // namespace
}  // namespace raftkv::store
