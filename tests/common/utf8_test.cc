#include "common/utf8.h"

#include <gtest/gtest.h>

namespace raftkv {
namespace {

TEST(Utf8Test, WhatIsWellFormed) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("n1"));
  EXPECT_TRUE(IsUtf8("n\xc3\xbc"));
  EXPECT_TRUE(IsUtf8("\xe2\x82\xac \xf0\x9f\x98\x80"));
  EXPECT_TRUE(IsUtf8("\xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf"));  // beside what is not
}

TEST(Utf8Test, WhatIsNot) {
  for (const char* bytes : {
           "a\xff", "\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98",  // stray, or cut off
           "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf",       // overlong
           "\xed\xa0\x80", "\xf4\x90\x80\x80",                   // surrogate, too high
       }) {
    EXPECT_FALSE(IsUtf8(bytes)) << bytes;
  }
}

}  // namespace
}  // namespace raftkv
