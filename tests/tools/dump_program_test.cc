// raftkv-dump as a program: what it refuses, what it leaves alone, its help.
#include <filesystem>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/directory_lock.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST_F(DumpTest, ChangesNothing) {
  MakeNode();
  Crash();
  const auto before = Snapshot(directory_);
  ASSERT_GE(before.size(), 5u);
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"meta"},
                                             {"summary"},
                                             {"log"},
                                             {"keys"},
                                             {"keys", "--replay", "--through", "last"},
                                             {"sessions"},
                                             {"members"},
                                             {"wal"},
                                             {"files", "--verify"}}) {
    EXPECT_EQ(Dump(arguments).exit_code, kExitFine);
    EXPECT_EQ(Snapshot(directory_), before) << arguments.front();
  }
}

TEST_F(DumpTest, ARunningNodeIsLeftAlone) {
  MakeNode();
  Crash();
  auto lock = store::DirectoryLock::Acquire(directory_);
  ASSERT_TRUE(lock.ok());
  const ProgramResult result = Dump({"meta"});
  EXPECT_EQ(result.exit_code, kExitCouldNotRun);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("a node is running on "));
  lock->reset();
  EXPECT_EQ(Dump({"meta"}).exit_code, kExitFine);
}

TEST_F(DumpTest, WhatIsNotANodesDirectory) {
  const ProgramResult nothing = Dump({"meta"});
  EXPECT_EQ(nothing.exit_code, kExitCouldNotRun);
  EXPECT_THAT(nothing.err, HasSubstr("No such file or directory"));
  fs::create_directory(directory_);
  const ProgramResult empty = Dump({"meta"});
  EXPECT_EQ(empty.exit_code, kExitCouldNotRun);
  EXPECT_THAT(empty.err, HasSubstr("give the node's --data-dir"));
}

TEST_F(DumpTest, Usage) {
  EXPECT_EQ(RunProgram(RAFTKV_DUMP, {}, temp_.path()).exit_code, kExitCouldNotRun);
  EXPECT_EQ(RunProgram(RAFTKV_DUMP, {"fetch"}, temp_.path()).exit_code, kExitCouldNotRun);
  EXPECT_EQ(RunProgram(RAFTKV_DUMP, {"log"}, temp_.path()).exit_code, kExitCouldNotRun);
  EXPECT_EQ(Dump({"log", "-o", "xml"}).exit_code, kExitCouldNotRun);
  const ProgramResult help = RunProgram(RAFTKV_DUMP, {"keys", "--help"}, temp_.path());
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("raftkv-dump keys data/n1 --replay"));
}

}  // namespace
}  // namespace raftkv::tools::dump
