#include "bench/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace raftkv::bench {
namespace {

using testing::HasSubstr;

// What it says when it refuses; empty: it takes the arguments.
std::string Refusal(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"raftkv-bench", "put"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  BenchOptions options;
  int exit_code = 0;
  testing::internal::CaptureStderr();
  const bool taken =
      ParseBenchOptions(static_cast<int>(argv.size()), argv.data(), &options, &exit_code);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(taken, exit_code != 0);
  return taken ? "" : said;
}

TEST(BenchOptionsTest, WhatWouldMeasureNothingIsRefused) {
  for (const std::string flag : {"--seconds", "--timeout", "--clients", "--clients-max",
                                 "--connections", "--keys", "--batch", "--range-keys"}) {
    EXPECT_THAT(Refusal({flag + "=0"}), HasSubstr(flag));
    EXPECT_THAT(Refusal({flag + "=-1"}), HasSubstr(flag));
  }
  for (const std::string flag :
       {"--seconds", "--timeout", "--warmup", "--interval", "--rate", "--theta", "--put-percent"}) {
    EXPECT_THAT(Refusal({flag + "=nan"}), HasSubstr(flag));
    EXPECT_THAT(Refusal({flag + "=-1"}), HasSubstr(flag));
    EXPECT_THAT(Refusal({flag + "=inf"}), HasSubstr(flag));
  }
  EXPECT_THAT(Refusal({"--endpoints=,"}), HasSubstr("--endpoints"));
}

TEST(BenchOptionsTest, ZerosThatMeanSomethingAreTaken) {
  EXPECT_EQ(Refusal({"--warmup=0", "--operations=0", "--rate=0", "--interval=0", "--put-percent=0",
                     "--value-bytes=0", "--seconds=0.3"}),
            "");
}

}  // namespace
}  // namespace raftkv::bench
