#include "server/percent.h"

#include <gtest/gtest.h>

namespace raftkv::server {
namespace {

TEST(Percent, EveryByteRoundTrips) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  EXPECT_EQ(PercentDecode(PercentEncode(all)), all);
}

TEST(Percent, PlusIsAPlus) { EXPECT_EQ(PercentDecode("a+b"), "a+b"); }

TEST(Percent, LowerCaseDigitsAreTaken) { EXPECT_EQ(PercentDecode("%2f%2F"), "//"); }

TEST(Percent, MalformedIsRefused) {
  EXPECT_EQ(PercentDecode("%"), std::nullopt);
  EXPECT_EQ(PercentDecode("a%2"), std::nullopt);
  EXPECT_EQ(PercentDecode("%zz"), std::nullopt);
  EXPECT_EQ(PercentDecode("%%41"), std::nullopt);
}

TEST(Percent, AnEscapeAtTheVeryEndIsTaken) {
  EXPECT_EQ(PercentDecode("a%00"), std::string("a\0", 2));
}

}  // namespace
}  // namespace raftkv::server
