// Where --out may be.
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/dump/out_directory.h"
#include "tools/dump_fixture.h"
#include "tools/support/new_cluster.h"
#include "tools/support/output_file.h"

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

TEST(OutDirectoryTest, WhatCouldNotBeFinishedIsRemoved) {
  const TempDir temp;
  const std::string empty = temp.path() + "/empty";
  fs::create_directory(empty);
  for (const std::string& path : {temp.path() + "/new", empty}) {
    const Status made = MakeNewDirectory(path, [&path] {
      fs::create_directories(path + "/db.bootstrap/x");
      return Status(Code::kIoError, "no space");
    });
    EXPECT_EQ(made.code(), Code::kIoError);
    EXPECT_EQ(fs::exists(path), path == empty);
    EXPECT_FALSE(fs::exists(path + "/db.bootstrap"));
  }
}

TEST(OutputPlaceTest, OnlyFilesAreReplaced) {
  const TempDir temp;
  const std::string file = temp.path() + "/file";
  const std::string link = temp.path() + "/link";
  std::ofstream(file) << "x";
  fs::create_symlink(file, link);
  EXPECT_EQ(PlaceOutput(file)->path, file);
  EXPECT_EQ(PlaceOutput(link)->path, fs::canonical(temp.path()).string() + "/file");
  EXPECT_NE(PlaceOutput(file)->part, file);
  EXPECT_EQ(PlaceOutput(temp.path()).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(PlaceOutput("/dev/null").status().code(), Code::kInvalidArgument);
}

TEST(RemovedOnSignalDeathTest, TheSignalsThatEndAProcessRemoveTheFile) {
  const TempDir temp;
  const std::string file = temp.path() + "/file";
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EXIT(
        {
          std::ofstream(file) << "half";
          const RemovedOnSignal removed(file);
          raise(signal);
        },
        testing::KilledBySignal(signal), "");
    EXPECT_FALSE(fs::exists(file)) << strsignal(signal);
  }
}

TEST(RemovedOnSignalDeathTest, OnlyWhileItLasts) {
  const TempDir temp;
  const std::string file = temp.path() + "/file";
  EXPECT_EXIT(
      {
        std::ofstream(file) << "whole";
        { const RemovedOnSignal removed(file); }
        { const RemovedOnSignal another(temp.path() + "/another"); }
        raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
  EXPECT_TRUE(fs::exists(file));
}

TEST(RemovedOnSignalDeathTest, WhatIsIgnoredStaysIgnored) {
  const TempDir temp;
  EXPECT_EXIT(
      {
        signal(SIGINT, SIG_IGN);
        const RemovedOnSignal removed(temp.path() + "/file");
        raise(SIGINT);
        _exit(7);
      },
      testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace raftkv::tools::dump
