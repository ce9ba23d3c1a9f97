// raftkv-check as people run it.
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/random_history.h"
#include "check/testing.h"
#include "tools/run_program.h"

namespace raftkv::check {
namespace {

using testing::HasSubstr;
using testing::Not;

class Program : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "raftkv-check-XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& bytes) {
    std::ofstream(directory_ + "/history.jsonl") << bytes;
    return directory_ + "/history.jsonl";
  }
  tools::ProgramResult Run(const std::vector<std::string>& arguments) {
    return tools::RunProgram(RAFTKV_CHECK_PROGRAM, arguments, directory_);
  }

  std::string directory_;
};

TEST_F(Program, GoodHistory) {
  const std::string path = Write(Text(RandomHistory({.operations = 200, .keys = 3}, 1)));
  const tools::ProgramResult result = Run({path, "--html", directory_ + "/none.html"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("OK: 200 operations, 3 group(s) of keys"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/none.html"));
}

TEST_F(Program, IllegalHistoryIsExplainedAndDrawn) {
  const std::string path = Write(
      R"({"client":"a","op":"put","key":"k","value":"<1>","invoke":1000000,"return":2000000,"outcome":"ok"}
{"client":"a","op":"put","key":"k","value":"2","invoke":3000000,"return":4000000,"outcome":"ok"}
{"client":"c","op":"put","key":"k","value":"3","invoke":3500000,"outcome":"unknown"}
{"client":"b","op":"get","key":"k","result":"<1>","invoke":5000000,"return":6000000,"outcome":"ok"}
)");
  const std::string html = directory_ + "/picture.html";
  const tools::ProgramResult result = Run({path, "--html", html});
  EXPECT_EQ(result.exit_code, 1) << result.out << result.err;
  EXPECT_EQ(result.out,
            R"(no order of the operations explains their answers: "k"
  [+0.000 ms .. +1.000 ms] a put "k" = "<1>" line 1
  [+2.000 ms .. +3.000 ms] a put "k" = "2" line 2
  [+4.000 ms .. +5.000 ms] b get "k" -> "<1>" line 4
ILLEGAL: 4 operations, 1 group(s) of keys, at most 4 operations in one
)");
  const std::string picture = tools::ReadFile(html);
  EXPECT_THAT(picture, HasSubstr("class=\"bad\""));
  EXPECT_THAT(picture, HasSubstr("class=\"open\""));  // the unanswered one, beside
  EXPECT_THAT(picture, HasSubstr("&lt;1&gt;"));
  EXPECT_THAT(picture, Not(HasSubstr("<1>")));
  EXPECT_THAT(picture, Not(HasSubstr("src=")));  // it needs nothing else
  EXPECT_THAT(picture, Not(HasSubstr("href=")));
}

TEST_F(Program, ARangeWithAKeyTwiceIsShownAsItWasAnswered) {
  const std::string path = Write(
      R"({"client":"a","op":"put","key":"k","value":"1","invoke":1000000,"return":2000000,"outcome":"ok"}
{"client":"b","op":"range","key":"j","range_end":"l","kvs":[{"key":"k","value":"1"},{"key":"k","value":"1"}],"invoke":5000000,"return":6000000,"outcome":"ok"}
)");
  const tools::ProgramResult result = Run({path, "--no-revisions"});
  EXPECT_EQ(result.exit_code, 1) << result.out << result.err;
  EXPECT_EQ(result.out,
            R"(a range returned a key twice: "j", "k"
  [+0.000 ms .. +1.000 ms] b range "j" to "l" -> {get "k" -> "1", get "k" -> "1"} line 2
ILLEGAL: 2 operations, 1 group(s) of keys, at most 1 operations in one
)");
}

TEST_F(Program, WhatItCanNotRunOn) {
  EXPECT_EQ(Run({directory_ + "/none"}).exit_code, 2);
  EXPECT_THAT(Run({directory_ + "/none"}).err, HasSubstr("can't open"));
  const std::string bad = Write("{\"op\":\"get\"}\n");
  EXPECT_EQ(Run({bad}).exit_code, 2);
  EXPECT_THAT(Run({bad}).err, HasSubstr("line 1: 'client' is missing"));
  // Nothing checked must not look like all is well.
  const std::string empty = Write("\n");
  EXPECT_EQ(Run({empty}).exit_code, 2);
  EXPECT_THAT(Run({empty}).err, HasSubstr("nothing was checked"));
  EXPECT_EQ(Run({}).exit_code, 2);
}

TEST_F(Program, ALimitIsUnknown) {
  const std::string path = Write(Text(RandomHistory({.operations = 600,
                                                     .clients = 60,
                                                     .values = 2,
                                                     .unknown_percent = 30,
                                                     .cas_percent = 40,
                                                     .pause_percent = 0},
                                                    1)));
  const tools::ProgramResult result = Run({path, "--time-s", "0.001", "--no-revisions"});
  EXPECT_EQ(result.exit_code, 3) << result.out;
  EXPECT_THAT(result.out, HasSubstr("the time limit was reached; raise --time-s"));
  EXPECT_THAT(result.out, HasSubstr("UNKNOWN"));
}

}  // namespace
}  // namespace raftkv::check
