// raftkvctl as a program: exit codes and help. What it says to servers is in ctl_client_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/run_program.h"

namespace raftkv::tools {
namespace {

using testing::HasSubstr;

ProgramResult Ctl(const std::vector<std::string>& arguments) {
  return RunProgram(RAFTKVCTL, arguments, testing::TempDir());
}

TEST(CtlProgram, WrongUsageIsTwoAndNothingIsSent) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"fetch"},
                                             {"put"},
                                             {"get", "k", "--nothing"},
                                             {"get", "k", "--consistency", "x"},
                                             {"get", "k", "--endpoints", "nowhere"},
                                             {"get", "k", "--command-timeout", "soon"},
                                             {"get", "k", "-w", "yaml"},
                                             {"compact", "x"},
                                             {"move-leader", "xyz"},
                                             {"member"},
                                             {"member", "add", "n4"},
                                             {"member", "add", "n4", "--peer-urls", "x"},
                                             {"member", "remove", "xyz"},
                                             {"alarm"}}) {
    const ProgramResult result = Ctl(arguments);
    EXPECT_EQ(result.exit_code, 2) << testing::PrintToString(arguments);
    EXPECT_NE(result.err, "");
    EXPECT_EQ(result.out, "");
  }
}

TEST(CtlProgram, HelpShowsAnExampleOfEachCommand) {
  for (const std::string command : {"put", "get", "del", "txn", "status", "health", "member",
                                    "move-leader", "compact", "alarm", "defrag", "hashkv"}) {
    const ProgramResult result = Ctl({command, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.out, HasSubstr("Example:\n"));
    EXPECT_THAT(result.out, HasSubstr("raftkvctl " + command));
  }
}

TEST(CtlProgram, NobodyThereIsOne) {
  // Port 1 is privileged and unused.
  const ProgramResult result =
      Ctl({"--endpoints", "127.0.0.1:1", "--command-timeout", "200ms", "put", "k", "v"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("raftkvctl: put: can't connect to 127.0.0.1:1"));
}

}  // namespace
}  // namespace raftkv::tools
