// The child process that raftkv-dump reads in, and its report.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/dump/child.h"
#include "tools/dump/report.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// RunInChild, with its output in a file.
class ChildTest : public testing::Test {
 protected:
  int Run(const std::function<int(Report*)>& work, Output output = {}) {
    const std::string path = temp_.path() + "/out";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    output.fd = fd;
    const int code = RunInChild(output, work);
    close(fd);
    out_ = ReadFile(path);
    return code;
  }

  const TempDir temp_;
  std::string out_;
};

TEST_F(ChildTest, ItsExitCodeIsPassedOn) {
  EXPECT_EQ(Run([](Report*) { return 2; }), 2);
  EXPECT_EQ(Run([](Report* report) {
              report->Problem("p");
              return report->exit_code();
            }),
            kExitProblems);
  EXPECT_EQ(out_, "PROBLEM: p\n");
}

TEST_F(ChildTest, ACrashIsAProblemAndWhatCameBeforeIsKept) {
  EXPECT_EQ(Run([](Report* report) {
              report->Record([] { return std::string("first"); }, [] { return Json(); });
              std::fprintf(stderr, "assertion of something failed\n");
              std::abort();
              return 0;
            }),
            kExitProblems);
  EXPECT_THAT(out_, HasSubstr("first\nPROBLEM: reading the directory ended in a crash (Aborted): "
                              "assertion of something failed\n"));
}

TEST_F(ChildTest, OutputThatCanNotBeWrittenIsNotSuccess) {
  const int full = open("/dev/full", O_WRONLY);
  EXPECT_EQ(RunInChild({.fd = full},
                       [](Report* report) {
                         report->Record([] { return std::string("x"); }, [] { return Json(); });
                         return report->exit_code();
                       }),
            kExitCouldNotRun);
  close(full);
}

int ReportTwo(Report* report, bool crash) {
  report->Record([] { return std::string("one"); }, [] { return Json{{"n", 1}}; });
  report->Problem("p", {{"at", 7}});
  if (crash) std::abort();
  return report->exit_code();
}

// Whatever happens, what -o json writes is one document.
TEST_F(ChildTest, AStreamIsOneJsonArray) {
  const Output stream{.format = Format::kJson, .shape = Shape::kStream};
  EXPECT_EQ(Run([](Report* report) { return ReportTwo(report, false); }, stream), kExitProblems);
  json expected = json::parse(R"([{"n": 1}, {"type": "problem", "what": "p", "at": 7}])");
  EXPECT_EQ(json::parse(out_), expected);

  EXPECT_EQ(Run([](Report* report) { return ReportTwo(report, true); }, stream), kExitProblems);
  const json crashed = json::parse(out_);
  ASSERT_EQ(crashed.size(), 3u);
  EXPECT_EQ(crashed[1], expected[1]);
  EXPECT_THAT(crashed[2]["what"].get<std::string>(), HasSubstr("ended in a crash"));

  EXPECT_EQ(Run([](Report*) { return kExitFine; }, stream), kExitFine);
  EXPECT_EQ(json::parse(out_), json::array());
  EXPECT_EQ(Run([](Report*) { return kExitCouldNotRun; }, stream), kExitCouldNotRun);
  EXPECT_EQ(out_, "");
}

TEST_F(ChildTest, ADocumentIsOneJsonObjectWithItsProblems) {
  const Output document{.format = Format::kJson, .shape = Shape::kDocument};
  EXPECT_EQ(Run([](Report* report) { return ReportTwo(report, false); }, document), kExitProblems);
  const json problem = json::parse(R"({"type": "problem", "what": "p", "at": 7})");
  EXPECT_EQ(json::parse(out_), (json{{"n", 1}, {"problems", {problem}}}));

  EXPECT_EQ(Run([](Report* report) { return ReportTwo(report, true); }, document), kExitProblems);
  EXPECT_EQ(json::parse(out_)["problems"].size(), 2u);

  EXPECT_EQ(Run(
                [](Report* report) {
                  report->Problem("no directory");
                  return report->exit_code();
                },
                document),
            kExitProblems);
  EXPECT_EQ(json::parse(out_)["problems"][0]["what"], "no directory");
}

TEST(CallInChildTest, ReturnsWhatItReturned) {
  EXPECT_EQ(CallInChild([] { return StatusOr<std::string>(std::string(1 << 20, 'x')); }).value(),
            std::string(1 << 20, 'x'));
  const Status status =
      CallInChild([] { return StatusOr<std::string>(Status(Code::kNotFound, "none")); }).status();
  EXPECT_EQ(status, Status(Code::kNotFound, "none"));
}

TEST(CallInChildTest, ACrashIsCorruption) {
  const Status status = CallInChild([]() -> StatusOr<std::string> {
                          std::fprintf(stderr, "first\nassertion of something failed\n");
                          std::abort();
                        }).status();
  EXPECT_EQ(status.code(), Code::kCorruption);
  EXPECT_THAT(status.message(), HasSubstr("crash (Aborted): assertion of something failed"));
}

}  // namespace
}  // namespace raftkv::tools::dump
