#include "common/identity.h"

#include <gtest/gtest.h>

namespace raftkv {
namespace {

// Directories hold these ids: what names and tokens come to must never change. (The first eight
// bytes of the SHA-256 of "raftkv node\ntok\nn1" and of "raftkv cluster\ntok\nn1\nn2".)
TEST(Identity, IdsNeverChange) {
  EXPECT_EQ(DeriveNodeId("tok", "n1"), NodeId(2169048390790410065ull));
  EXPECT_EQ(DeriveClusterId("tok", {"n2", "n1"}), ClusterId(5923964749218780636ull));
}

TEST(Identity, TokenAndNamesTellApart) {
  EXPECT_NE(DeriveNodeId("tok", "n1"), DeriveNodeId("tok", "n2"));
  EXPECT_NE(DeriveNodeId("tok", "n1"), DeriveNodeId("kot", "n1"));
  EXPECT_NE(DeriveClusterId("tok", {"n1"}), DeriveClusterId("kot", {"n1"}));
  EXPECT_NE(DeriveClusterId("tok", {"n1"}), DeriveClusterId("tok", {"n1", "n2"}));
}

}  // namespace
}  // namespace raftkv
