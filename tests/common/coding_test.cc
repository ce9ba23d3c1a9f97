#include "common/coding.h"

#include <gtest/gtest.h>

namespace raftkv {
namespace {

TEST(Coding, BigEndianOrderIsNumberOrder) {
  std::string small, large;
  AppendBigEndian64(&small, 0xff);
  AppendBigEndian64(&large, 0x100);
  EXPECT_LT(small, large);
}

TEST(Coding, RoundTrips) {
  std::string out;
  AppendBigEndian64(&out, 0x0123456789abcdef);
  AppendLittleEndian32(&out, 0xdeadbeef);
  AppendLittleEndian64(&out, UINT64_MAX);
  AppendVarint(&out, 300);
  AppendVarint(&out, UINT64_MAX);
  AppendLengthPrefixed(&out, std::string_view("a\0b", 3));
  std::string_view in = out;
  uint64_t v64 = 0;
  uint32_t v32 = 0;
  std::string_view bytes;
  ASSERT_TRUE(ConsumeBigEndian64(&in, &v64));
  EXPECT_EQ(v64, 0x0123456789abcdefu);
  ASSERT_TRUE(ConsumeLittleEndian32(&in, &v32));
  EXPECT_EQ(v32, 0xdeadbeefu);
  ASSERT_TRUE(ConsumeLittleEndian64(&in, &v64));
  EXPECT_EQ(v64, UINT64_MAX);
  ASSERT_TRUE(ConsumeVarint(&in, &v64));
  EXPECT_EQ(v64, 300u);
  ASSERT_TRUE(ConsumeVarint(&in, &v64));
  EXPECT_EQ(v64, UINT64_MAX);
  ASSERT_TRUE(ConsumeLengthPrefixed(&in, &bytes));
  EXPECT_EQ(bytes, std::string_view("a\0b", 3));
  EXPECT_TRUE(in.empty());
}

TEST(Coding, ShortInputIsRefused) {
  uint64_t v = 0;
  std::string_view seven("1234567");
  EXPECT_FALSE(ConsumeBigEndian64(&seven, &v));
  std::string_view unfinished("\xff\xff", 2);
  EXPECT_FALSE(ConsumeVarint(&unfinished, &v));
  std::string_view too_long(
      "\x05"
      "abc");
  std::string_view bytes;
  EXPECT_FALSE(ConsumeLengthPrefixed(&too_long, &bytes));
}

TEST(Coding, VarintOverflowIsRefused) {
  std::string_view in("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
  uint64_t v = 0;
  EXPECT_FALSE(ConsumeVarint(&in, &v));
}

}  // namespace
}  // namespace raftkv
