#include "server/marker_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace raftkv::server {
namespace {

namespace fs = std::filesystem;

class MarkerFileTest : public testing::Test {
 protected:
  MarkerFileTest() {
    std::string pattern = testing::TempDir() + "raftkv-marker-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~MarkerFileTest() override { fs::remove_all(dir_); }

  std::string Read(const std::string& name) const {
    std::ifstream in(dir_ + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string dir_;
};

TEST_F(MarkerFileTest, WritesReplacesAndLeavesNothingBeside) {
  ASSERT_TRUE(WriteMarkerFile(dir_ + "/member", "n1\n").ok());
  EXPECT_EQ(Read("member"), "n1\n");
  ASSERT_TRUE(WriteMarkerFile(dir_ + "/member", "n2\n").ok());
  EXPECT_EQ(Read("member"), "n2\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), {}), 1);
}

TEST_F(MarkerFileTest, AnUnwritableDirectoryIsAnError) {
  const Status status = WriteMarkerFile(dir_ + "/missing/member", "n1\n");
  EXPECT_EQ(status.code(), Code::kIoError);
  EXPECT_NE(status.message().find(dir_ + "/missing/member"), std::string::npos);
}

}  // namespace
}  // namespace raftkv::server
