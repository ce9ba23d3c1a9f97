// What the end of all faults is to leave.

#include "torture/cluster.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>

namespace raftkv::torture {
namespace {

TEST(Cluster, ClocksAreRightAfterAllFaultsAndNotBetweenThem) {
  std::string directory = testing::TempDir() + "raftkv-cluster-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  Options options;
  options.nodes = 1;
  options.raftkvd = "/bin/true";  // the clock is there without a node
  {
    auto cluster = Cluster::Make(options, directory, "no-shim").value();
    cluster->SetClock(0, std::chrono::seconds(-600));
    EXPECT_TRUE(cluster->Mend().ok());
    EXPECT_EQ(*cluster->node(0).clock_offset, -600'000'000'000);
    EXPECT_TRUE(cluster->Heal().ok());
    EXPECT_EQ(*cluster->node(0).clock_offset, 0);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace raftkv::torture
