// The reports, and above all what counts as a pass.

#include "torture/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace raftkv::torture {
namespace {

Report Good() {
  Report report;
  report.options.seed = 7;
  report.options.faults = {Fault::kKill, Fault::kCut};
  report.timeline = {{.ok = 3, .latencies_us = {1000, 2000, 9000}}, {.ok = 1, .unknown = 2}};
  report.faults = {{.name = "kill",
                    .what = "n1 <&> n2",
                    .begin_ns = 200'000'000,
                    .end_ns = 900'000'000,
                    .served_ns = 1'000'000'000},
                   {.name = "cut", .what = "n3", .begin_ns = 1'000'000'000}};
  report.leaders = {{100'000'000, "n2", 3}};
  report.operations = 6;
  report.checked = true;
  report.check.verdict = check::Verdict::kOk;
  return report;
}

TEST(Report, OnlyOkIsAPass) {
  Report report = Good();
  EXPECT_EQ(ExitCode(report), 0);
  report.check.verdict = check::Verdict::kIllegal;
  EXPECT_EQ(ExitCode(report), 1);
  report.check.verdict = check::Verdict::kUnknown;
  EXPECT_EQ(ExitCode(report), 3);
  EXPECT_EQ(TextReport(report).find("PASS"), std::string::npos);
  report = Good();
  report.checked = false;
  EXPECT_EQ(ExitCode(report), 3);
  report = Good();
  report.problems = {"the nodes differ"};
  EXPECT_EQ(ExitCode(report), 1);
}

// What was asked for and did not happen is not proven.
TEST(Report, LessThanWasAskedForIsNotAPass) {
  const auto not_proven = [](const Report& report, const std::string& why) {
    const std::string text = TextReport(report);
    return ExitCode(report) == 3 && text.find("NOT PROVEN: " + why) != std::string::npos &&
           JsonReport(report).find(why) != std::string::npos;
  };
  Report report = Good();
  report.interrupted = true;
  EXPECT_TRUE(not_proven(report, "the run was interrupted")) << TextReport(report);
  report = Good();
  report.faults.pop_back();
  EXPECT_TRUE(not_proven(report, "no cut fault came up")) << TextReport(report);
  report.faults.clear();
  EXPECT_TRUE(not_proven(report, "no kill fault came up")) << TextReport(report);
  report.options.faults.clear();  // none was asked for
  EXPECT_EQ(ExitCode(report), 0);
  report = Good();
  report.options.faults.insert(Fault::kPower);
  report.faults.push_back({.name = "power"});
  EXPECT_TRUE(not_proven(report, "no power cut took anything back")) << TextReport(report);
  report.power.changes = 1;
  EXPECT_EQ(ExitCode(report), 0);
  report.faults.clear();
  report.problems = {"the nodes differ"};
  EXPECT_EQ(ExitCode(report), 1);
}

TEST(Report, TheTextSaysHowToDoItAgain) {
  Report report = Good();
  EXPECT_NE(TextReport(report).find("PASS"), std::string::npos);
  report.problems = {"the nodes differ"};
  const std::string text = TextReport(report);
  EXPECT_NE(text.find("PROBLEM: the nodes differ"), std::string::npos);
  EXPECT_NE(text.find("raftkv-torture --seed 7"), std::string::npos) << text;
  EXPECT_NE(text.find("--faults kill,cut"), std::string::npos) << text;
}

TEST(Report, TheJsonHasTheFigures) {
  const auto json = nlohmann::json::parse(JsonReport(Good()));
  EXPECT_EQ(json["verdict"], "OK");
  EXPECT_EQ(json["operations"]["ok"], 4);
  EXPECT_EQ(json["latency_us"]["max"], 9000);
  EXPECT_EQ(json["faults"][0]["what"], "n1 <&> n2");
  EXPECT_EQ(json["timeline"].size(), 2u);
}

// Just when there is something to say.
TEST(Report, TheJsonTakesAnyBytes) {
  const std::string bad = "half of an \xc3";
  Report report = Good();
  report.problems = {bad};
  report.errors[bad] = 1;
  report.check.why = bad;
  report.faults[0].what = bad;
  const auto json = nlohmann::json::parse(JsonReport(report));
  EXPECT_EQ(json["problems"][0], "half of an \xef\xbf\xbd");
}

TEST(Report, ThePageStandsAlone) {
  const std::string page = HtmlReport(Good());
  for (const char* outside : {"http://", "https://", "src=", "href=", "@import"}) {
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  }
  EXPECT_NE(page.find("n1 &lt;&amp;&gt; n2"), std::string::npos);
  EXPECT_NE(page.find("<svg"), std::string::npos);
}

TEST(Report, PercentilesOfFewAndNone) {
  EXPECT_EQ(Percentile({}, 0.5), 0u);
  EXPECT_EQ(Percentile({5}, 0.99), 5u);
  EXPECT_EQ(Percentile({3, 1, 2}, 0.5), 2u);
  EXPECT_EQ(Percentile({3, 1, 2}, 1), 3u);
}

}  // namespace
}  // namespace raftkv::torture
