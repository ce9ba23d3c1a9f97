#include "common/crc32c.h"

#include <string>

#include <gtest/gtest.h>

namespace raftkv {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32c, PublishedVectors) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<char>(i));
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
}

TEST(Crc32c, ExtendingInPiecesIsTheSameAsAtOnce) {
  const std::string data = "the quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    const uint32_t first = Crc32c(std::string_view(data).substr(0, cut));
    EXPECT_EQ(ExtendCrc32c(first, std::string_view(data).substr(cut)), Crc32c(data)) << cut;
  }
}

}  // namespace
}  // namespace raftkv
