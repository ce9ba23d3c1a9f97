// Where --out may be.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/dump/out_directory.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(OutDirectoryTest, IsNewAndOutsideOfTheSource) {
  const TempDir temp;
  const std::string source = temp.path() + "/n1";
  fs::create_directories(source + "/db");
  fs::create_symlink(source, temp.path() + "/link");

  EXPECT_TRUE(CheckOutDirectory(temp.path() + "/out", source).ok());
  EXPECT_TRUE(CheckOutDirectory(temp.path() + "/out/", source).ok());
  EXPECT_TRUE(CheckOutDirectory(temp.path() + "/n10", source).ok());
  EXPECT_THAT(CheckOutDirectory(temp.path(), source).message(), HasSubstr("exists"));
  EXPECT_THAT(CheckOutDirectory(source, source).message(), HasSubstr("exists"));
  EXPECT_THAT(CheckOutDirectory(temp.path() + "/no/out", source).message(),
              HasSubstr("no directory to make"));
  for (const char* inside : {"/n1/out", "/n1/out/", "/n1/db/out", "/link/out", "/link/db/../out"}) {
    EXPECT_THAT(CheckOutDirectory(temp.path() + inside, source).message(), HasSubstr("is inside"))
        << inside;
    EXPECT_THAT(CheckOutDirectory(temp.path() + inside, temp.path() + "/link/").message(),
                HasSubstr("is inside"))
        << inside;
  }
}

}  // namespace
}  // namespace raftkv::tools::dump
