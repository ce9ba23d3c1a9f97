// What the recorder knows of each client.

#include "torture/recorder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "check/history_file.h"

namespace raftkv::torture {
namespace {

check::Operation Done(const std::string& client, const std::string& kind, check::Outcome outcome) {
  check::Operation op;
  op.client = client;
  op.kind = kind;
  op.outcome = outcome;
  op.return_ns = 1;
  return op;
}

// A client that can read, while its session is refused for ever, does not get on.
TEST(Recorder, OnlyWritesThatSucceedAreProgress) {
  const std::string path = testing::TempDir() + "raftkv-recorder-test.jsonl";
  auto recorder = Recorder::Make(path).value();
  recorder->Add(Done("c0", "put", check::Outcome::kOk), 0, "");
  recorder->Add(Done("c0", "txn", check::Outcome::kOk), 0, "");
  for (const char* kind : {"get", "range"}) {
    recorder->Add(Done("c1", kind, check::Outcome::kOk), 0, "");
  }
  recorder->Add(Done("c1", "cas", check::Outcome::kFail), 0, "no session");
  auto clients = recorder->clients();
  EXPECT_EQ(clients["c0"].writes_ok, 2u);
  EXPECT_EQ(clients["c1"].writes_ok, 0u);
  EXPECT_EQ(clients["c1"].last_error, "no session");
  EXPECT_TRUE(recorder->Close().ok());
  std::filesystem::remove(path);
}

TEST(Recorder, TheHistoryTakesAnyBytes) {
  const std::string path = testing::TempDir() + "raftkv-recorder-bytes.jsonl";
  auto recorder = Recorder::Make(path).value();
  check::Operation op = Done("c\xff", "put", check::Outcome::kOk);
  op.then_steps.emplace_back();
  op.then_steps[0].kind = check::StepKind::kPut;
  op.then_steps[0].key = op.then_steps[0].value.emplace("\xfe");
  recorder->Add(op, 0, "\xfd");
  ASSERT_TRUE(recorder->Close().ok());
  std::ifstream file(path);
  const auto history = check::ReadHistory(file);
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_EQ(history->size(), 1u);
  EXPECT_EQ(history->at(0).then_steps[0].key, "\xfe");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace raftkv::torture
