#include "bench/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace raftkv::bench {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const Clock::time_point kBegin{std::chrono::hours(1)};

class OutputTest : public testing::Test {
 protected:
  OutputTest() {
    options_.operation_name = "put";
    result_.Begin(kBegin, kBegin);
    for (int i = 1; i <= 100; ++i) {
      result_.Answered(kBegin, kBegin + std::chrono::microseconds(i), i <= 40);
    }
    result_.Failed("UNAVAILABLE", "gone");
    result_.End(kBegin + std::chrono::seconds(2));
    cpu_.Begin();
    cpu_.End();
  }
  std::string Interval() const { return Output(options_).Line(result_, nullptr); }
  std::string Total() const {
    const Totals totals{&cpu_, 0.25};
    return Output(options_).Line(result_, &totals);
  }

  BenchOptions options_;
  Result result_;
  CpuMeter cpu_{{getpid()}};
};

TEST_F(OutputTest, TextKeepsTheFieldsThatScriptsRead) {
  EXPECT_EQ(Interval(),
            "ops=100 failures=1 seconds=2.00 ops/s=50 p50_us=50 p90_us=90 p99_us=99 p999_us=100 "
            "max_us=100 gap_us=1999900\n");
  EXPECT_THAT(Total(), StartsWith("put clients=1 connections=1 ops=100 failures=1 seconds=2.00 "));
  EXPECT_THAT(Total(), HasSubstr(" found=40 generator_cpu_us_per_op="));
  EXPECT_THAT(Total(), HasSubstr(" others_cpu_us_per_op="));
  EXPECT_THAT(Total(), Not(HasSubstr("unstarted")));
  EXPECT_EQ(Output(options_).Header(), "");
}

TEST_F(OutputTest, TextOfALoadAndOfAnOpenLoop) {
  options_.operation = Operation::kLoad;
  options_.operation_name = "load";
  EXPECT_THAT(Total(), StartsWith("load clients=1 connections=1 keys=100000 puts_per_request=100 "
                                  "value_bytes=256 ops=100 "));
  options_.operation = Operation::kPut;
  options_.operation_name = "put";
  options_.rate = 5000;
  result_.Unstarted();
  EXPECT_THAT(Total(), StartsWith("put clients=1000 connections=1 rate=5000 ops=100 "));
  EXPECT_THAT(Total(), HasSubstr(" unstarted=1 "));
}

TEST_F(OutputTest, CsvHasAColumnForEachHeading) {
  options_.format = Format::kCsv;
  const std::string header = Output(options_).Header();
  const auto commas = [](const std::string& line) {
    return std::count(line.begin(), line.end(), ',');
  };
  EXPECT_EQ(commas(Interval()), commas(header));
  EXPECT_EQ(commas(Total()), commas(header));
  EXPECT_THAT(Interval(), StartsWith("interval,put,1,1,0,100,1,0,40,2.000,50.0,50,90,99,100,100,"));
  EXPECT_THAT(Total(), StartsWith("total,put,1,1,0,100,1,0,40,2.000,50.0,50,90,99,100,100,"));
  EXPECT_EQ(std::count(header.begin(), header.end(), '\n'), 1);
}

TEST_F(OutputTest, JsonHasTheHistogram) {
  options_.format = Format::kJson;
  const auto total = nlohmann::json::parse(Total());
  EXPECT_EQ(total["stretch"], "total");
  EXPECT_EQ(total["ops"], 100);
  EXPECT_EQ(total["failures_by_code"], (nlohmann::json{{"UNAVAILABLE", 1}}));
  EXPECT_EQ(total["p50_us"], 50);
  EXPECT_EQ(total["ops_per_s"], 50.0);
  EXPECT_EQ(total["drain_seconds"], 0.25);
  EXPECT_EQ(total["others_cpu_seconds"].size(), 1U);
  ASSERT_EQ(total["histogram_us"].size(), 100U);
  EXPECT_EQ(total["histogram_us"][9], (std::vector<uint64_t>{10, 10, 1}));
  const auto interval = nlohmann::json::parse(Interval());
  EXPECT_EQ(interval["stretch"], "interval");
  EXPECT_FALSE(interval.contains("histogram_us"));
}

TEST(CpuMeterTest, ReadsUserAndSystemTimeBehindAnyName) {
  EXPECT_DOUBLE_EQ(CpuMeter::SecondsOfStat("12 (a) b) R 1 2 3 4 5 6 7 8 9 10 150 50 99 99 20", 100),
                   2.0);
  EXPECT_DOUBLE_EQ(CpuMeter::SecondsOfStat("", 100), 0.0);
}

TEST(CpuMeterTest, CountsWhatThisProcessUses) {
  CpuMeter cpu({getpid()});
  cpu.Begin();
  // Until the kernel's clock of processes, hundredths of a second, must have ticked.
  const std::clock_t begin = std::clock();
  while (std::clock() - begin < CLOCKS_PER_SEC / 20) {
  }
  cpu.End();
  EXPECT_GE(cpu.own_seconds(), 0.04);
  EXPECT_GT(cpu.own_percent(), 0);
  EXPECT_LE(cpu.own_percent(), 100.5);
  ASSERT_EQ(cpu.others_seconds().size(), 1U);
  EXPECT_GE(cpu.others_seconds()[0], 0.02);
}

TEST(OptionsTest, NamesAreChecked) {
  const auto parse = [](std::vector<std::string> words, BenchOptions* options) {
    words.insert(words.begin(), "raftkv-bench");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    int exit_code = 0;
    testing::internal::CaptureStderr();
    const bool ok =
        ParseBenchOptions(static_cast<int>(argv.size()), argv.data(), options, &exit_code);
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(ok, exit_code == 0);
    return ok;
  };
  BenchOptions options;
  EXPECT_TRUE(parse({"get-serializable", "--distribution=zipf", "--format=json", "--cpu-of=1,2",
                     "--spacing=fixed", "--rate=10.5"},
                    &options));
  EXPECT_EQ(options.operation, Operation::kGet);
  EXPECT_TRUE(options.serializable);
  EXPECT_EQ(options.distribution, Distribution::kZipf);
  EXPECT_EQ(options.format, Format::kJson);
  EXPECT_EQ(options.spacing, Spacing::kFixed);
  EXPECT_EQ(options.cpu_of, (std::vector<int>{1, 2}));
  EXPECT_TRUE(options.open_loop());
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{},
                                             {"putt"},
                                             {"put", "--distribution=normal"},
                                             {"put", "--format=xml"},
                                             {"put", "--theta=1"},
                                             {"put", "--endpoints=,"},
                                             {"load", "--rate=5"}}) {
    BenchOptions ignored;
    EXPECT_FALSE(parse(bad, &ignored)) << testing::PrintToString(bad);
  }
}

}  // namespace
}  // namespace raftkv::bench
