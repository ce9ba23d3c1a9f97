#include "tools/ctl/requests.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/ctl/txn_parser.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using testing::HasSubstr;

constexpr WordEncoding kBytes = WordEncoding::kBytes;

const std::string kNul(1, '\0');

TEST(Requests, PrefixEndIsOnePastTheLastKeyOfThePrefix) {
  EXPECT_EQ(PrefixEnd("a"), "b");
  EXPECT_EQ(PrefixEnd("a\xff"), "b");
  EXPECT_EQ(PrefixEnd("a\xfe"), "a\xff");
  EXPECT_EQ(PrefixEnd("\xff\xff"), kNul);
}

TEST(Requests, KeyRanges) {
  const auto range = [](std::string key, bool prefix, bool from_key) {
    GetFlags flags;
    flags.keys.key = std::move(key);
    flags.keys.prefix = prefix;
    flags.keys.from_key = from_key;
    const RangeRequest request = ToRange(flags, kBytes).value();
    return std::pair(request.key(), request.range_end());
  };
  EXPECT_EQ(range("a", false, false), std::pair(std::string("a"), std::string()));
  EXPECT_EQ(range("a", true, false), std::pair(std::string("a"), std::string("b")));
  EXPECT_EQ(range("a", false, true), std::pair(std::string("a"), kNul));
  EXPECT_EQ(range("", true, false), std::pair(kNul, kNul));
  EXPECT_EQ(range("", false, true), std::pair(kNul, kNul));
}

TEST(Requests, ContradictionsAreRefused) {
  GetFlags both;
  both.keys = {.key = "a", .range_end = std::nullopt, .prefix = true, .from_key = true};
  EXPECT_FALSE(ToRange(both, kBytes).ok());
  GetFlags prefix_and_end;
  prefix_and_end.keys = {.key = "a", .range_end = "b", .prefix = true, .from_key = false};
  EXPECT_FALSE(ToRange(prefix_and_end, kBytes).ok());
  GetFlags consistency;
  consistency.consistency = "x";
  EXPECT_FALSE(ToRange(consistency, kBytes).ok());
  GetFlags order;
  order.order = "up";
  EXPECT_FALSE(ToRange(order, kBytes).ok());
  GetFlags sort;
  sort.sort_by = "size";
  EXPECT_FALSE(ToRange(sort, kBytes).ok());
  PutFlags ignore;
  ignore.key = "a";
  ignore.value = "v";
  ignore.ignore_value = true;
  EXPECT_FALSE(ToPut(ignore, kBytes, nullptr).ok());
  PutFlags lease;
  lease.value = "v";
  lease.lease = "xyz";
  EXPECT_FALSE(ToPut(lease, kBytes, nullptr).ok());
}

TEST(Requests, SortFlags) {
  GetFlags flags;
  flags.keys.key = "a";
  flags.sort_by = "modify";
  flags.order = "descend";
  EXPECT_EQ(ToRange(flags, kBytes)->sort_target(), RangeRequest::MOD);
  EXPECT_EQ(ToRange(flags, kBytes)->sort_order(), RangeRequest::DESCEND);
  flags.order = "";
  EXPECT_EQ(ToRange(flags, kBytes)->sort_order(), RangeRequest::ASCEND);
}

TEST(Requests, AMissingValueIsReadWholeAndAnEmptyOneIsAValue) {
  PutFlags flags;
  flags.key = "a";
  const std::string input("x\0y\n", 4);
  EXPECT_EQ(ToPut(flags, kBytes, [&] { return input; })->value(), input);
  EXPECT_FALSE(ToPut(flags, kBytes, nullptr).ok());
  flags.value = "";
  EXPECT_EQ(ToPut(flags, kBytes, [&] { return input; })->value(), "");
}

TEST(Requests, HexInput) {
  PutFlags flags;
  flags.key = "00fF";
  flags.value = "0a";
  const auto request = ToPut(flags, WordEncoding::kHex, nullptr).value();
  EXPECT_EQ(request.key(), std::string("\0\xff", 2));
  EXPECT_EQ(request.value(), "\n");
  flags.key = "0";
  EXPECT_FALSE(ToPut(flags, WordEncoding::kHex, nullptr).ok());
  flags.key = "0g";
  EXPECT_FALSE(ToPut(flags, WordEncoding::kHex, nullptr).ok());
}

TEST(TxnParser, WordsAndQuotes) {
  const auto words = [](std::string_view line) { return SplitWords(line).value(); };
  EXPECT_EQ(words("put a  b"), (std::vector<std::string>{"put", "a", "b"}));
  EXPECT_EQ(words("put 'a b' \"c d\""), (std::vector<std::string>{"put", "a b", "c d"}));
  EXPECT_EQ(words(R"("\x00\101\n\"\\" '\n')"),
            (std::vector<std::string>{std::string("\0A\n\"\\", 5), "\\n"}));
  EXPECT_EQ(words(R"("\u20ac" '' "")"), (std::vector<std::string>{"\xe2\x82\xac", "", ""}));
  for (const char* bad : {"\"open", "'open", "\"\\q\"", "\"\\x1\"", "\"\\", "\"\\400\""}) {
    EXPECT_FALSE(SplitWords(bad).ok()) << bad;
  }
}

TEST(TxnParser, Compares) {
  const auto text = [](std::string_view line) {
    return ParseCompare(line, kBytes).value().ShortDebugString();
  };
  EXPECT_EQ(text(R"(mod("k") > "0")"), "result: GREATER target: MOD key: \"k\" mod_revision: 0");
  EXPECT_EQ(text(R"(m("k")>"7")"), "result: GREATER target: MOD key: \"k\" mod_revision: 7");
  EXPECT_EQ(text("create(k) = 3"), "target: CREATE key: \"k\" create_revision: 3");
  EXPECT_EQ(text(R"( version ( "k" ) < "9")"), "result: LESS key: \"k\" version: 9");
  EXPECT_EQ(text(R"(value("a)b") != "x y")"),
            "result: NOT_EQUAL target: VALUE key: \"a)b\" value: \"x y\"");
  EXPECT_EQ(text(R"(lease("k") = "4d")"), "target: LEASE key: \"k\" lease: 77");
  for (const char* bad : {"k > 0", "mod(k > 0", "mod(k) >= 0", "mod(k) 0", "mod(k) >", "mod(k) > x",
                          "size(k) > 0", "mod(k) > 0 1", "mod(k) > \"\""}) {
    EXPECT_FALSE(ParseCompare(bad, kBytes).ok()) << bad;
  }
}

TEST(TxnParser, AWholeTransaction) {
  std::istringstream in(
      "mod(\"k\") > \"0\"\n"
      "\n"
      "put k \"new value\" --prev-kv\n"
      "get --prefix k --limit 3\n"
      "\n"
      "del k\n"
      "put -- -k -v\n");
  const auto txn = ParseTxn(in, kBytes).value();
  ASSERT_EQ(txn.compare_size(), 1);
  ASSERT_EQ(txn.success_size(), 2);
  ASSERT_EQ(txn.failure_size(), 2);
  EXPECT_EQ(txn.success(0).request_put().value(), "new value");
  EXPECT_TRUE(txn.success(0).request_put().prev_kv());
  EXPECT_EQ(txn.success(1).request_range().range_end(), "l");
  EXPECT_EQ(txn.success(1).request_range().limit(), 3);
  EXPECT_EQ(txn.failure(0).request_delete_range().key(), "k");
  EXPECT_EQ(txn.failure(1).request_put().key(), "-k");
  EXPECT_EQ(txn.failure(1).request_put().value(), "-v");
}

TEST(TxnParser, SectionsMayBeEmpty) {
  std::istringstream in("\n\nput k v\n\n");
  const auto txn = ParseTxn(in, kBytes).value();
  EXPECT_EQ(txn.compare_size(), 0);
  EXPECT_EQ(txn.success_size(), 0);
  EXPECT_EQ(txn.failure_size(), 1);
}

TEST(TxnParser, ErrorsNameTheLine) {
  const auto error = [](const std::string& text) {
    std::istringstream in(text);
    return ParseTxn(in, kBytes).status().message();
  };
  EXPECT_THAT(error("\nput k\n"), HasSubstr("line 2: put needs a value"));
  EXPECT_THAT(error("mod(k) > 0\n\nfetch k\n"), HasSubstr("line 3: unknown operation 'fetch'"));
  EXPECT_THAT(error("\nget k --nothing\n"), HasSubstr("line 2: get: "));
  EXPECT_THAT(error("\n\n\nput k v\n"), HasSubstr("line 4: "));
}

}  // namespace
}  // namespace raftkv::tools::ctl
