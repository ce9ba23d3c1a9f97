#include "check/history_file.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/random_history.h"
#include "check/testing.h"

namespace raftkv::check {
namespace {

StatusOr<History> Read(const std::string& text) {
  std::istringstream in(text);
  return ReadHistory(in);
}

std::string ErrorOf(const std::string& text) {
  const StatusOr<History> history = Read(text);
  return history.ok() ? "no error" : history.status().message();
}

TEST(HistoryFile, EveryKindOfOperation) {
  const std::string text =
      R"({"client":"a","op":"put","key":"k","value":"1","invoke":1,"return":5,"outcome":"ok","revision":2}
{"client":"b","op":"get","key":"k","result":"1","mod_revision":2,"invoke":6,"return":9,"outcome":"ok"}
{"client":"b","op":"get","key":"k","result":null,"invoke":6,"return":9,"outcome":"ok"}
{"client":"b","op":"cas","key":"k","expected":null,"value":{"hex":"00ff"},"succeeded":false,"invoke":10,"return":12,"outcome":"ok"}
{"client":"c","op":"delete","key":"k","invoke":11,"outcome":"unknown"}
{"client":"c","op":"delete","key":"k","deleted":1,"invoke":12,"return":13,"outcome":"ok"}
{"client":"a","op":"txn","compare":[{"key":"k","value":"1"}],"then":[{"op":"put","key":"l","value":"2"}],"else":[{"op":"get","key":"k","result":"3"}],"succeeded":false,"invoke":20,"return":22,"outcome":"ok"}
{"client":"b","op":"put","key":"k","value":"3","invoke":31,"outcome":"fail"}
)";
  const StatusOr<History> history = Read(text);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(Text(*history), text);
  EXPECT_EQ((*history)[3].then_steps[0].value, Value(std::string("\0\xff", 2)));
  EXPECT_EQ((*history)[4].return_ns, kNever);
  EXPECT_EQ((*history)[7].line, 8u);
  // Only the branch that ran has results.
  EXPECT_TRUE((*history)[6].else_steps[0].known);
}

TEST(HistoryFile, RandomHistoriesComeBackAsTheyWere) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const std::string text = Text(RandomHistory(
        {.operations = 60, .keys = 3, .values = 3, .txn_percent = 30, .range_percent = 10}, seed));
    const StatusOr<History> again = Read(text);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(Text(*again), text);
  }
}

TEST(HistoryFile, ARangeReadsEveryKeyOfTheHistoryInIt) {
  const StatusOr<History> history = Read(
      R"({"client":"a","op":"put","key":"b","value":"1","invoke":1,"return":5,"outcome":"ok"}
{"client":"a","op":"put","key":"d","value":"1","invoke":1,"return":5,"outcome":"ok"}
{"client":"b","op":"range","key":"a","range_end":"d","kvs":[{"key":"c","value":"2"}],"invoke":6,"return":9,"outcome":"ok"}
)");
  ASSERT_TRUE(history.ok()) << history.status();
  const std::vector<Step>& steps = (*history)[2].then_steps;
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].key, "b");
  EXPECT_EQ(steps[0].value, std::nullopt);
  EXPECT_TRUE(steps[0].known);
  EXPECT_EQ(steps[1].key, "c");
  EXPECT_EQ(steps[1].value, "2");
  // b was written and is not there, c is there and nobody wrote it.
  EXPECT_EQ(VerdictOf(*history), Verdict::kIllegal);
}

// A history of two puts and a range of them, "a" and "c"; `range` is the range's own fields.
History WithRange(const std::string& range) {
  const StatusOr<History> history = Read(
      R"({"client":"a","op":"put","key":"a","value":"1","invoke":1,"return":2,"outcome":"ok"}
{"client":"a","op":"put","key":"a","value":"2","invoke":3,"return":4,"outcome":"ok"}
{"client":"a","op":"put","key":"c","value":"3","invoke":5,"return":6,"outcome":"ok"}
{"client":"b","op":"range","invoke":7,"return":8,"outcome":"ok",)" +
      range + "}\n");
  EXPECT_TRUE(history.ok()) << history.status();
  return history.ok() ? *history : History();
}

// Why Check says that the history is illegal; empty when it does not.
std::string WhyIllegal(const History& history) {
  const CheckReport report = Check(history, {});
  if (report.verdict != Verdict::kIllegal) return "";
  EXPECT_EQ(report.violations.size(), 1u) << "it is to be said once";
  EXPECT_THAT(report.violations[0].ops, testing::ElementsAre(3));
  // It still is when it was written and read.
  const StatusOr<History> again = Read(Text(history));
  EXPECT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Check(*again, {}).verdict, Verdict::kIllegal) << Text(history);
  return report.violations[0].why;
}

TEST(HistoryFile, ARangeThatNoStoreCanAnswerIsIllegal) {
  const std::string in = R"("key":"a","range_end":"d","kvs":)";
  const std::string a = R"({"key":"a","value":"2"})", c = R"({"key":"c","value":"3"})";
  EXPECT_EQ(WhyIllegal(WithRange(in + "[" + a + "," + c + "]")), "");
  const std::string twice = "a range returned a key twice";
  const std::string stale = R"({"key":"a","value":"1"})";
  EXPECT_EQ(WhyIllegal(WithRange(in + "[" + stale + "," + a + "," + c + "]")), twice);
  EXPECT_EQ(WhyIllegal(WithRange(in + "[" + a + "," + stale + "," + c + "]")), twice);
  EXPECT_EQ(WhyIllegal(WithRange(in + "[" + a + "," + c + "," + c + "]")), twice);
  const std::string order = "a range returned its keys out of order";
  EXPECT_EQ(WhyIllegal(WithRange(in + "[" + c + "," + a + "]")), order);
  EXPECT_EQ(WhyIllegal(WithRange(in + "[" + a + "," + c + "," + a + "]")), order);
  const std::string outside = "a range returned a key outside of it";
  const auto of = [&](const char* first, const char* end) {
    return R"("key":")" + std::string(first) + R"(","range_end":")" + end + R"(","kvs":[)" + a +
           "," + c + "]";
  };
  EXPECT_EQ(WhyIllegal(WithRange(of("a", "c"))), outside);
  EXPECT_EQ(WhyIllegal(WithRange(of("b", "d"))), outside);
  EXPECT_EQ(WhyIllegal(WithRange(of("d", "a"))), outside);
  EXPECT_EQ(WhyIllegal(WithRange(of("a", ""))), outside);
}

TEST(HistoryFile, ARangesEndIsThatOfEtcd) {
  const auto verdict = [](const std::string& range) { return VerdictOf(WithRange(range)); };
  const std::string a = R"({"key":"a","value":"2"})", c = R"({"key":"c","value":"3"})";
  // None: the one key.
  EXPECT_EQ(verdict(R"("key":"a","range_end":"","kvs":[)" + a + "]"), Verdict::kOk);
  EXPECT_EQ(verdict(R"("key":"b","range_end":"","kvs":[])"), Verdict::kOk);
  EXPECT_EQ(verdict(R"("key":"a","range_end":"","kvs":[])"), Verdict::kIllegal);
  // A zero byte: all that follow.
  const std::string all = R"("key":"a","range_end":{"hex":"00"},"kvs":)";
  EXPECT_EQ(verdict(all + "[" + a + "," + c + "]"), Verdict::kOk);
  EXPECT_EQ(verdict(all + "[" + a + "]"), Verdict::kIllegal);
  // Before the start: nothing.
  EXPECT_EQ(verdict(R"("key":"d","range_end":"a","kvs":[])"), Verdict::kOk);
}

TEST(HistoryFile, ATransactionWithoutComparesSucceeds) {
  const auto history = [](const std::string& succeeded) {
    const StatusOr<History> read = Read(
        R"({"client":"a","op":"put","key":"a","value":"1","invoke":1,"return":2,"outcome":"ok"}
{"client":"b","op":"txn","compare":[],"then":[{"op":"get","key":"a","result":"1"}],"else":[{"op":"get","key":"a","result":"1"}],"invoke":3,"return":4,"outcome":"ok")" +
        succeeded + "}\n");
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *read : History();
  };
  EXPECT_EQ(VerdictOf(history("")), Verdict::kOk);
  EXPECT_EQ(VerdictOf(history(R"(,"succeeded":true)")), Verdict::kOk);
  const History bad = history(R"(,"succeeded":false)");
  const CheckReport report = Check(bad, {});
  EXPECT_EQ(report.verdict, Verdict::kIllegal);
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_EQ(report.violations[0].why, "a transaction that compares nothing did not succeed");
  EXPECT_EQ(Check(Read(Text(bad)).value(), {}).verdict, Verdict::kIllegal);
}

TEST(HistoryFile, ARangeIsWrittenAsItWasRead) {
  for (
      const char* line :
      {R"({"client":"a","op":"range","key":"b","range_end":"d","kvs":[{"key":"c","value":"2","mod_revision":4}],"invoke":1,"return":2,"outcome":"ok"})",
       R"({"client":"a","op":"range","key":"b","range_end":"d","kvs":[],"invoke":1,"return":2,"outcome":"ok"})",
       R"({"client":"a","op":"range","key":"b","range_end":"d","invoke":1,"outcome":"unknown"})"}) {
    EXPECT_EQ(FormatOperation(ParseOperation(line).value()), line);
  }
}

TEST(HistoryFile, ErrorsNameLineFieldAndWhatIsWrong) {
  const std::string good =
      R"({"client":"a","op":"put","key":"k","value":"1","invoke":1,"return":5,"outcome":"ok"})";
  const auto with = [](const std::string& fields) {
    return R"({"client":"a","op":"put","key":"k","outcome":"ok",)" + fields + "}";
  };
  EXPECT_EQ(ErrorOf(good), "no error");
  EXPECT_EQ(ErrorOf(good + "\n\n" + good + "\nx"), "line 4: is not JSON");
  EXPECT_EQ(ErrorOf("[]"), "line 1: is not a JSON object");
  EXPECT_EQ(ErrorOf(with(R"("invoke":1,"return":2)")), "line 1: 'value' is missing");
  EXPECT_EQ(ErrorOf(with(R"("value":"1","invoke":3,"return":2)")),
            "line 1: 'return' is before 'invoke'");
  EXPECT_EQ(ErrorOf(with(R"("value":"1","invoke":1.5,"return":2)")),
            "line 1: 'invoke' is not a whole number from 0 up to 2^63-2");
  EXPECT_EQ(ErrorOf(with(R"("value":"1","invoke":1,"return":9223372036854775807)")),
            "line 1: 'return' is not a whole number from 0 up to 2^63-2");
  EXPECT_EQ(ErrorOf(with(R"("value":{"hex":"0"},"invoke":1,"return":2)")),
            R"(line 1: 'value' is neither a string nor {"hex": "..."})");
  EXPECT_EQ(ErrorOf(with(R"("value":"1","invoke":1,"return":2,"retrun":3)")),
            "line 1: 'retrun' is not a field of this operation");
  EXPECT_EQ(ErrorOf(R"({"client":"a","op":"inc","key":"k","invoke":1,"outcome":"unknown"})"),
            "line 1: 'op' is put, get, delete, cas, txn or range");
  EXPECT_EQ(ErrorOf(R"({"client":"a","op":"put","key":"k","value":"1","invoke":1,"outcome":"?"})"),
            "line 1: 'outcome' is ok, fail or unknown");
  EXPECT_EQ(ErrorOf(R"({"client":"a","op":"get","key":"k","invoke":1,"return":2,"outcome":"ok"})"),
            "line 1: 'result' is missing");
  EXPECT_EQ(
      ErrorOf(
          R"({"client":"a","op":"delete","key":"k","deleted":2,"invoke":1,"return":2,"outcome":"ok"})"),
      "line 1: 'deleted' is more than the one key");
}

}  // namespace
}  // namespace raftkv::check
