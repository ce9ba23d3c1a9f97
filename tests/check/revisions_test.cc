#include "check/revisions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/random_history.h"
#include "check/testing.h"

namespace raftkv::check {
namespace {

Operation At(int64_t invoke_ns, int64_t return_ns, int64_t revision, Operation op) {
  op.invoke_ns = invoke_ns;
  op.return_ns = return_ns;
  op.revision = revision;
  return op;
}

Operation Read(int64_t invoke_ns, int64_t return_ns, int64_t revision, Value value,
               int64_t mod_revision) {
  Operation op = At(invoke_ns, return_ns, revision, Get("b", "x", std::move(value)));
  op.then_steps[0].mod_revision = mod_revision;
  return op;
}

std::string Why(const History& history) {
  const std::vector<RevisionProblem> problems = CheckRevisions(history);
  return problems.empty() ? "" : problems[0].why;
}

TEST(Revisions, OfARealStoreAreFine) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const History history = RandomHistory({.operations = 300,
                                           .clients = 5,
                                           .keys = 3,
                                           .values = seed % 3,
                                           .unknown_percent = 10,
                                           .delete_percent = 10,
                                           .cas_percent = 10,
                                           .txn_percent = 15,
                                           .range_percent = 5,
                                           .counted_deletes = seed % 2 == 0},
                                          seed);
    const std::vector<RevisionProblem> problems = CheckRevisions(history);
    ASSERT_TRUE(problems.empty()) << "seed " << seed << ": " << problems[0].why << "\n"
                                  << Text(history, problems[0].ops);
  }
}

TEST(Revisions, DoNotGoBack) {
  const Operation first = At(0, 1, 5, Put("a", "x", "1"));
  EXPECT_EQ(Why({first, At(2, 3, 6, Put("a", "y", "2"))}), "");
  EXPECT_EQ(Why({first, At(2, 3, 5, Get("a", "y", std::nullopt))}), "");
  EXPECT_EQ(Why({first, At(1, 3, 4, Get("a", "y", std::nullopt))}), "");  // they overlap
  EXPECT_EQ(Why({first, At(2, 3, 4, Get("a", "y", std::nullopt))}),
            "the store's revision went back");
  EXPECT_EQ(Why({first, At(2, 3, 5, Put("a", "y", "2"))}), "two writes were given one revision");
  EXPECT_EQ(Why({At(0, 1, 5, Get("a", "x", std::nullopt)), At(2, 3, 5, Put("a", "y", "2"))}),
            "a write did not raise the store's revision");
}

TEST(Revisions, AReadsModRevisionIsThatOfItsWrite) {
  const Operation put = At(0, 9, 5, Put("a", "x", "1"));
  EXPECT_EQ(Why({put, Read(0, 9, 7, "1", 5)}), "");
  EXPECT_EQ(Why({put, Read(0, 9, 7, "2", 5)}),
            "a read is not what the write of its mod revision wrote");
  EXPECT_EQ(Why({put, Read(0, 9, 4, "1", 5)}), "a read is of a later revision than the store had");
  EXPECT_EQ(Why({put, Read(0, 9, 7, "2", 6)}),
            "a read's mod revision is that of no write of its key");
  EXPECT_EQ(Why({put, At(0, 9, 6, Put("a", "y", "2")), Read(0, 9, 7, "2", 6)}),
            "a read's mod revision is that of a write to other keys");
  Operation unknown = Put("a", "x", "2");
  unknown.outcome = Outcome::kUnknown;
  EXPECT_EQ(Why({put, unknown, Read(0, 9, 7, "2", 6)}), "");
}

TEST(Revisions, AReadAtARevisionMissesNoWriteUpToIt) {
  const Operation first = At(0, 99, 5, Put("a", "x", "1"));
  const Operation second = At(0, 99, 6, Put("a", "x", "2"));
  const std::string missed = "a read at a revision misses a write of its key";
  // All overlap, so that their values alone could be explained.
  EXPECT_EQ(Why({first, second, Read(0, 99, 5, "1", 5)}), "");
  EXPECT_EQ(Why({first, second, Read(0, 99, 6, "1", 5)}), missed);
  EXPECT_EQ(Why({first, Read(0, 99, 6, std::nullopt, 0)}), missed);
  EXPECT_EQ(Why({first, Read(0, 99, 4, std::nullopt, 0)}), "");
  EXPECT_EQ(Why({first, At(0, 99, 6, Delete("a", "x", true)), Read(0, 99, 6, std::nullopt, 0)}),
            "");
  Operation unknown = Delete("a", "x", true);
  unknown.outcome = Outcome::kUnknown;
  unknown.then_steps[0].deleted.reset();
  EXPECT_EQ(Why({first, unknown, Read(0, 99, 6, std::nullopt, 0)}), "");
}

}  // namespace
}  // namespace raftkv::check
