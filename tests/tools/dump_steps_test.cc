// Steps that crash, and what is left of the others.
#include <cstdlib>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/dump/set_comparison.h"
#include "tools/dump/steps.h"

namespace raftkv::tools::dump {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Step Says(const std::string& what, bool ok = true, bool needs_first = false) {
  return {"step " + what,
          [what, ok](Findings* findings) {
            findings->Problem({.check = "test", .what = what});
            return ok;
          },
          needs_first};
}

Step Crashes(const std::string& after_saying) {
  return {"the one that crashes", [after_saying](Findings* findings) {
            findings->Problem({.check = "test", .what = after_saying});
            std::abort();
            return true;
          }};
}

std::vector<std::string> Said(const std::vector<Step>& steps) {
  std::vector<std::string> said;
  const Status status = RunSteps(
      steps, 0, [&](const Json& record) { said.push_back(record["what"].get<std::string>()); });
  EXPECT_TRUE(status.ok()) << status;
  return said;
}

TEST(RunStepsTest, ACrashHidesNothingThatIsBeforeOrBehindIt) {
  EXPECT_THAT(Said({Says("1"), Crashes("2"), Says("3"), Crashes("4"), Says("5")}),
              ElementsAre("1", "2", AllOf(HasSubstr("the one that crashes: "), HasSubstr("crash")),
                          "3", "4", HasSubstr("crash"), "5"));
}

TEST(RunStepsTest, WhatNeedsTheFirstIsNotDoneWithoutIt) {
  EXPECT_THAT(Said({Says("1"), Says("2", true, true)}), ElementsAre("1", "2"));
  EXPECT_THAT(Said({Says("1", false), Says("2", true, true), Says("3")}), ElementsAre("1", "3"));
  EXPECT_THAT(Said({Crashes("1"), Says("2", true, true), Says("3")}),
              ElementsAre("1", HasSubstr("crash"), "3"));
  EXPECT_THAT(Said({Says("1"), Crashes("2"), Says("3", true, true)}),
              ElementsAre("1", "2", HasSubstr("crash"), "3"));
}

TEST(SetComparisonTest, OrderDoesNotMatterAndDetailsDo) {
  SetComparison comparison;
  for (int i = 0; i < 1000; ++i) comparison.AddLeft("id" + std::to_string(i), "x");
  for (int i = 999; i >= 0; --i) comparison.AddRight("id" + std::to_string(i), "x");
  EXPECT_TRUE(comparison.Equal());
  comparison.AddLeft("one", "x");
  comparison.AddRight("one", "y");
  EXPECT_EQ(comparison.differing_buckets(), 1u);
  EXPECT_TRUE(comparison.IsSuspect("one"));
  comparison.AddLeft("another", "");
  comparison.Narrow(1);
  EXPECT_EQ(comparison.differing_buckets(), 1u);
  EXPECT_NE(comparison.IsSuspect("one"), comparison.IsSuspect("another"));
}

}  // namespace
}  // namespace raftkv::tools::dump
