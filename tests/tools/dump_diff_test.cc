// raftkv-dump diff: two directories, and what is said of where they differ.
#include <filesystem>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/identity_codec.h"
#include "store/mvcc.h"
#include "tools/dump_fixture.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DumpDiffTest : public DumpTest {
 protected:
  // Two nodes with the same log up to 9, the first of them flushed.
  void SetUp() override {
    MakeNode();
    node_->FlushAll();
    node_->Close();
    fs::copy(directory_, other_, fs::copy_options::recursive);
  }

  // Changes one of the two and closes it again.
  void Change(const std::string& path, const std::function<void(Node*)>& change) {
    Node node(path, Node::kReopen);
    change(&node);
    node.FlushAll();
  }

  ProgramResult Diff(std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"diff", other_});
    return Dump(std::move(options));
  }

  const std::string other_ = temp_.path() + "/n2";
};

TEST_F(DumpDiffTest, TheSameTwice) {
  const auto before = Snapshot(temp_.path());
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitFine) << result.out << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("note: identity: one member, at two times: n1"),
                    HasSubstr("ok: log: the logs are the same from index 1 to 9\n"),
                    HasSubstr("versions of keys, as read at any revision from 0 to 7\n"),
                    HasSubstr("they agree on all that both have\n")));
  EXPECT_EQ(Snapshot(temp_.path()), before);
}

TEST_F(DumpDiffTest, WhatOnlyOneHas) {
  Change(other_, [](Node* node) {
    const std::vector<Entry> more = {Put(10, 2, "new", "1"), Put(11, 2, "new", "2")};
    node->Append(more, {Term(2), NodeId(0xa2), Index(11)});
    node->Apply(more);
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitFine) << result.out;
  EXPECT_THAT(result.out, AllOf(HasSubstr("only B has index 10 to 11: A has not got that far"),
                                HasSubstr("only B has revision 8 to 9"),
                                HasSubstr("sessions, members and alarms were not compared")));
}

TEST_F(DumpDiffTest, OtherSessionLimits) {
  Change(other_, [](Node* node) {
    node->Overwrite(node->engine()->kv().get(), store::AppliedKey(), [](std::string* record) {
      store::AppliedRecord applied = store::DecodeAppliedRecord(*record).value();
      applied.session_limits.ttl_ms = 1'000;
      *record = store::EncodeAppliedRecord(applied);
    });
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitProblems) << result.out;
  EXPECT_THAT(result.out,
              HasSubstr("A remembers at most 100000 for 3600000 ms, B 100000 for 1000 ms"));
}

TEST_F(DumpDiffTest, ALogThatWasCut) {
  Change(directory_, [](Node* node) {
    raft::AppendTask cut;
    cut.cut = raft::LogStart{{Index(4), Term(1)}, {}};
    node->Append(cut);
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitFine) << result.out;
  EXPECT_THAT(result.out, AllOf(HasSubstr("only B has index 1 to 4: they were cut off in A"),
                                HasSubstr("the logs are the same from index 5 to 9")));
}

TEST_F(DumpDiffTest, LogsThatPart) {
  Change(other_, [](Node* node) {
    node->Overwrite(node->engine()->raft_log(), wal::LogKey(Index(8)), [](std::string* record) {
      *record = wal::EncodeEntry(Put(8, 2, "other", "1"));
    });
    node->Overwrite(node->engine()->raft_log(), wal::LogKey(Index(9)),
                    [](std::string* record) { *record = wal::EncodeEntry(Noop(9, 2)); });
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("PROBLEM: log: A has term 2 command, "), HasSubstr("where: index 8"),
                    HasSubstr("both took it for committed: that must never happen"),
                    HasSubstr("the same from index 1 to 7 and differ at 8")));
  const auto lines = Lines(Diff({"-o", "jsonl"}).out);
  EXPECT_EQ(lines.back()["first_index"], 8);
  EXPECT_EQ(lines.back()["differences"], 2);
}

// What Raft allows, and repairs.
TEST_F(DumpDiffTest, TailsThatWereNotCommitted) {
  for (const auto& [path, term] : {std::pair(directory_, 2), std::pair(other_, 3)}) {
    Change(path, [term = term](Node* node) {
      node->Append({Put(10, static_cast<uint64_t>(term), "k", "v")},
                   {Term(3), NodeId(0xa2), Index(9)});
    });
  }
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("neither is known to be committed"));
}

TEST_F(DumpDiffTest, StatesThatDiffer) {
  Change(other_, [](Node* node) {
    const std::string key = store::DataKey("a", {5, 0});
    node->Overwrite(node->engine()->kv().get(), key, [&](std::string* record) {
      store::EncodeDataRecord(key, 5, {.create_revision = 2, .version = 2, .value = "x"}, record);
    });
    node->Remove(node->engine()->kv().get(), store::DataKey("txn", {6, 0}));
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(
      result.out,
      AllOf(HasSubstr("the version of the key is not the same in both\n  where: key \"a\", "
                      "revision 5\n"),
            HasSubstr("only A has this version of the key\n  where: key \"txn\", revision 6"),
            HasSubstr("the first key that differs is \"a\", the first revision 5")));
}

TEST_F(DumpDiffTest, SessionsThatDiffer) {
  Change(other_, [](Node* node) {
    node->Remove(node->engine()->kv().get(), store::SessionKey("0123456789abcdef"));
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("only A has this record\n  where: key \"s0123456789abcdef\""));
}

TEST_F(DumpDiffTest, WhatIsCompactedInOneIsNotCompared) {
  const std::vector<Entry> more = {Put(10, 2, "a", "3"), Compact(11, 2, 8)};
  for (const std::string& path : {directory_, other_}) {
    Change(path, [&](Node* node) {
      node->Append(more, {Term(2), NodeId(0xa2), Index(11)});
      node->Apply(path == other_ ? more : std::vector<Entry>{more[0]});
      while (node->CompactStep()) {
      }
    });
  }
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitFine) << result.out;
  EXPECT_THAT(result.out, HasSubstr("as read at any revision from 8 to 8\n"));
}

TEST_F(DumpDiffTest, NoRevisionInCommon) {
  const std::vector<Entry> more = {Put(10, 2, "a", "3"), Compact(11, 2, 8)};
  Change(other_, [&](Node* node) {
    node->Append(more, {Term(2), NodeId(0xa2), Index(11)});
    node->Apply(more);
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitFine) << result.out;
  EXPECT_THAT(result.out, HasSubstr("there is no revision that can be read in both: A has 0 to 7, "
                                    "B has 8 to 8; nothing was compared"));
}

TEST_F(DumpDiffTest, OtherClustersAreSaidFirst) {
  Change(other_, [](Node* node) {
    store::NodeIdentity identity = node->engine()->identity();
    identity.cluster = ClusterId(0xc2);
    node->Overwrite(node->engine()->raft_meta(), std::string(store::kIdentityKey),
                    [&](std::string* record) { *record = store::EncodeIdentity(identity); });
  });
  const ProgramResult result = Diff();
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_TRUE(result.out.starts_with(
      "PROBLEM: identity: they belong to different clusters: A to c1, B to c2"))
      << result.out;
}

TEST_F(DumpDiffTest, ReplayComparesWhatWasNotFlushed) {
  fs::remove_all(directory_);
  MakeNode();  // flushed up to 5 only
  Crash();
  const ProgramResult as_is = Diff();
  EXPECT_EQ(as_is.exit_code, kExitFine) << as_is.out;
  EXPECT_THAT(as_is.out, HasSubstr("only B has revision 5 to 7"));
  const auto before = Snapshot(temp_.path());
  const ProgramResult replayed = Diff({"--replay"});
  EXPECT_EQ(replayed.exit_code, kExitFine) << replayed.out;
  EXPECT_THAT(replayed.out, HasSubstr("only B has revision 7 to 7"));
  EXPECT_EQ(Snapshot(temp_.path()), before);
}

TEST_F(DumpDiffTest, WhatCanNotBeCompared) {
  EXPECT_EQ(Dump({"diff", other_ + "-none"}).exit_code, kExitCouldNotRun);
  fs::remove(other_ + "/db/CURRENT");
  const ProgramResult damaged = Diff();
  EXPECT_EQ(damaged.exit_code, kExitCouldNotRun);
  EXPECT_THAT(damaged.err, HasSubstr("n2 can't be compared: "));
}

}  // namespace
}  // namespace raftkv::tools::dump
