// The session limits as a part of the replicated state.
#include "store/session_limits.h"

#include <gtest/gtest.h>

#include <vector>

#include "store/kv_errors.h"
#include "store/session_table.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

// What a node was started with must not decide what it holds: one that never stopped, and one that
// starts in between and applies again what it had not flushed, know the same sessions.
TEST(SessionLimits, TheyAreThoseOfTheLogWhoeverAppliesIt) {
  TestNode one;
  TestNode other;
  for (TestNode* node : {&one, &other}) {
    node->SetSessionLimits({.sessions_max = 2, .ttl_ms = 5'000});
    for (int i = 0; i < 4; ++i) {
      node->Append(CommandType::kPut, PutOf("a", "1"), {"c" + std::to_string(i), 1}, 1'000);
    }
    node->AppendSessionLimits({.sessions_max = 3, .ttl_ms = 1'000});
    for (int i = 0; i < 4; ++i) {
      node->Append(CommandType::kPut, PutOf("a", "2"), {"d" + std::to_string(i), 1}, 3'000);
    }
    node->AppendSessionLimits({});
    node->Append(CommandType::kPut, PutOf("a", "3"), {"e", 1}, 60'000);
  }
  one.ApplyPending();
  EXPECT_EQ(one.store().revision(), 1 + 2 + 3 + 1);
  EXPECT_EQ(one.store().applied().sessions, 4u);
  while (other.store().applied().position.index.value() < other.last_index()) {
    const uint64_t from = other.store().applied().position.index.value();
    std::vector<ApplyResult> ignored;
    other.store().Apply(std::span(other.log()).subspan(from, 1), &ignored);
    if (from % 3 == 0) {
      other.Crash();
      other.Replay(2);
    }
    if (from % 4 == 0) other.Restart();
  }
  EXPECT_EQ(one.LogicalContent(), other.LogicalContent());
}

TEST(SessionLimits, ASnapshotCarriesThem) {
  const SessionLimits limits{.sessions_max = 1, .ttl_ms = 5'000};
  TestNode from;
  from.SetSessionLimits(limits);
  from.Apply(CommandType::kPut, PutOf("a", "1"), {"c", 1}, 1'000);
  TestNode to;
  to.store().SwitchTo(Stage(&to, ChunksOf(&from, /*id=*/7)));
  EXPECT_EQ(to.store().applied().session_limits, limits);
  to.Restart();
  EXPECT_EQ(to.store().applied(), from.store().applied());
  const Entry entry = MakeEntry(Index(3), CommandType::kPut, PutOf("a", "2"), {"d", 1}, 1'000);
  std::vector<ApplyResult> results;
  to.store().Apply(std::vector<Entry>{entry}, &results);
  EXPECT_EQ(results[0].status, ErrTooManySessions());
}

TEST(SessionLimits, ALowerOneExpiresAsFewAtATime) {
  TestNode node;
  for (int i = 0; i < 30; ++i) {
    node.Append(CommandType::kPut, PutOf("a", "1"), {"c" + std::to_string(i), 1}, 5'000);
  }
  node.ApplyPending();
  node.SetSessionLimits({.sessions_max = 20, .ttl_ms = 1'000});
  EXPECT_EQ(node.store().applied().sessions, 30u) << "the command itself removes nothing";
  const auto put = [&node](const std::string& client) {
    return node.Apply(CommandType::kPut, PutOf("a", "1"), {client, 1}, 9'000);
  };
  EXPECT_EQ(put("n1").status, ErrTooManySessions());
  EXPECT_EQ(node.store().applied().sessions, 30u - kSessionsExpiredMax);
  EXPECT_TRUE(put("n2").status.ok());
  EXPECT_EQ(node.store().applied().sessions, 30u - 2 * kSessionsExpiredMax + 1);
}

}  // namespace
}  // namespace raftkv::store
