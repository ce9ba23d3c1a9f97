// What is done before the search: in how many steps, and within the limits.
#include "check/problem.h"

#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

#include "check/search.h"
#include "check/testing.h"

namespace raftkv::check {
namespace {

using Clock = std::chrono::steady_clock;

Problem Make(const History& history, Clock::time_point deadline = Clock::time_point::max()) {
  std::vector<const Operation*> ops;
  for (const Operation& op : history) ops.push_back(&op);
  return MakeProblem(ops, Unseen::kKeepWhereItMatters, deadline);
}

Operation Unanswered(Operation op) {
  op.outcome = Outcome::kUnknown;
  op.succeeded.reset();
  return op;
}

// `length` compare-and-swaps without an answer, each from what the one before wrote.
History Chain(const std::string& name, size_t length, const std::string& last) {
  History history;
  Value before;
  for (size_t i = 1; i <= length; ++i) {
    const std::string value = i == length ? last : name + std::to_string(i);
    history.push_back(Unanswered(Cas(name, "k", before, value, true)));
    before = value;
  }
  return history;
}

void Call(int64_t invoke_ns, int64_t return_ns, Operation op, History* history) {
  op.invoke_ns = invoke_ns;
  op.return_ns = return_ns;
  history->push_back(std::move(op));
}

// Values are numbered in the order in which they are first mentioned, so a chain is also tried
// backwards.
void ExpectStepsLinear(const std::function<History(size_t)>& make, size_t kept) {
  for (const bool backwards : {false, true}) {
    for (const size_t length : {size_t{500}, size_t{4000}}) {
      History history = make(length);
      if (backwards) std::reverse(history.begin(), history.end());
      const Problem problem = Make(history);
      EXPECT_TRUE(problem.is_complete);
      EXPECT_EQ(problem.contradiction, "");
      EXPECT_EQ(problem.ops.size(), kept * length + 1);
      EXPECT_LE(problem.steps, 15 * history.size()) << length;
    }
  }
}

TEST(Problem, AChainThatWasSeenTakesAStepALink) {
  ExpectStepsLinear(
      [](size_t length) {
        History history = Chain("a", length, "last");
        Call(10, 20, Get("r", "k", "last"), &history);
        return history;
      },
      1);
}

TEST(Problem, SoDoChainsOfWhichOneWasSeen) {
  // Neither must have been, but both may.
  ExpectStepsLinear(
      [](size_t length) {
        History history = Chain("a", length, "last");
        const History other = Chain("b", length, "last");
        history.insert(history.end(), other.begin(), other.end());
        Call(10, 20, Get("r", "k", "last"), &history);
        return history;
      },
      2);
}

TEST(Problem, EveryLinkOfAChainMustBeBeforeItsEndWasSeen) {
  History history = Chain("a", 3, "last");
  Call(10, 20, Get("r", "k", "last"), &history);
  Call(10, 15, Get("r", "k", "a2"), &history);
  const Problem problem = Make(history);
  ASSERT_EQ(problem.ops.size(), 5u);
  const auto deadline = [&](size_t source) {
    const auto op = std::find_if(problem.ops.begin(), problem.ops.end(),
                                 [=](const ProblemOp& o) { return o.source == source; });
    EXPECT_TRUE(op->must);
    return op->deadline;
  };
  EXPECT_EQ(deadline(0), 15);
  EXPECT_EQ(deadline(1), 15);
  EXPECT_EQ(deadline(2), 20);
}

TEST(Problem, AChainIsDecidedWithoutTryingWhatDoesNotFit) {
  History history = Chain("a", 4000, "last");
  Call(10, 20, Get("r", "k", "last"), &history);
  const SearchResult result = Search(Make(history), {}, 1);
  EXPECT_EQ(result.verdict, Verdict::kOk);
  EXPECT_LE(result.configurations, 4001u);
}

TEST(Problem, TheDeadlineIsNotOnlyTheSearchs) {
  History history = Chain("a", 4000, "last");
  Call(10, 20, Get("r", "k", "last"), &history);
  const Problem problem = Make(history, Clock::now());
  EXPECT_FALSE(problem.is_complete);
  EXPECT_LE(problem.steps, 2048u);
  const SearchResult result = Search(problem, {}, 1);
  EXPECT_EQ(result.verdict, Verdict::kUnknown);
  EXPECT_EQ(result.why, "the time limit was reached");
}

TEST(Problem, WhatIsStillToBeTriedCountsAsMemory) {
  // Any order will do, and the first that is tried does; but each of its steps keeps a list of all
  // that could have come instead: 18 MB.
  History history;
  for (int i = 0; i < 3000; ++i) Call(0, 10, Put("a", "k", std::to_string(i)), &history);
  const Problem problem = Make(history);
  SearchLimits limits;
  EXPECT_EQ(Search(problem, limits, 1).verdict, Verdict::kOk);
  limits.memory_bytes = 1 << 20;
  const SearchResult result = Search(problem, limits, 1);
  EXPECT_EQ(result.verdict, Verdict::kUnknown);
  EXPECT_EQ(result.why, "the memory limit was reached");
}

}  // namespace
}  // namespace raftkv::check
