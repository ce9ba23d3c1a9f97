// raftkv-dump members and sessions.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/mvcc.h"
#include "tools/dump_fixture.h"
#include "tools/support/text.h"
#include "wal/keys.h"

namespace raftkv::tools::dump {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST_F(DumpTest, MembersOfTheNewestConfiguration) {
  node_ = std::make_unique<Node>(directory_);
  const std::vector<Entry> entries = {Noop(1, 1), Member(2, 1), Config(3, 1)};
  node_->Append(entries, {Term(1), NodeId(0xa1), Index(2)});
  node_->Apply({entries.begin(), entries.begin() + 2});
  node_->FlushKv();
  Crash();
  const ProgramResult text = Dump({"members"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.out << text.err;
  EXPECT_EQ(text.out,
            "configuration (log start, index 0 term 0): voters a1 a2 a3\n"
            "configuration (index 3 term 1, not known to be committed): voters a1 a3, learners a4, "
            "removed a2; a1 at http://127.0.0.1:2380; a4 at http://127.0.0.4:2380 (to be "
            "promoted)\n"
            "member a1 n1 (this node): voter, peers at http://127.0.0.1:2380, clients at "
            "http://127.0.0.1:2379\n"
            "member a3: voter, peers at unknown, clients at unknown\n"
            "member a4: learner, to be promoted, peers at http://127.0.0.4:2380, clients at "
            "unknown\n"
            "removed a2\n");
  const json lines = json::parse(Dump({"members", "-o", "json"}).out);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[1]["committed"], false);
  EXPECT_EQ(lines[1]["joint"], false);
  EXPECT_EQ(lines[2]["self"], true);
  EXPECT_EQ(lines[5]["id"], "a2");
}

TEST_F(DumpTest, MembersOfAJointConfiguration) {
  node_ = std::make_unique<Node>(directory_);
  Membership joint;
  joint.voters = {NodeId(0xa1), NodeId(0xa4)};
  joint.outgoing = {NodeId(0xa1), NodeId(0xa2)};
  const std::vector<Entry> entries = {Noop(1, 1), Config(2, 1, joint)};
  node_->Append(entries, {Term(1), NodeId(0xa1), Index(2)});
  node_->Apply(entries);
  node_->FlushKv();
  Crash();
  const std::string text = Dump({"members"}).out;
  EXPECT_THAT(text, HasSubstr("configuration (index 2 term 1, committed, joint): voters a1 a4, "
                              "outgoing a1 a2\n"));
  EXPECT_THAT(text, HasSubstr("configuration (applied state, joint): "));
  EXPECT_THAT(text, HasSubstr("member a1 (this node): voter,"));
  EXPECT_THAT(text, HasSubstr("member a2: outgoing voter,"));
  EXPECT_THAT(text, HasSubstr("member a4: incoming voter,"));
}

TEST_F(DumpTest, MembersWithADamagedEntry) {
  node_ = std::make_unique<Node>(directory_);
  node_->Append({Noop(1, 1), Config(2, 1)}, {Term(1), NodeId(0xa1), Index(2)});
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(2)),
                   [](std::string* record) { (*record)[12] ^= 1; });
  Crash();
  const ProgramResult result = Dump({"members"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: entry 2: "));
}

TEST_F(DumpTest, Sessions) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"sessions"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  EXPECT_THAT(text.out, HasSubstr("0123456789abcdef  sequence 1, last used "
                                  "2023-11-14T22:13:20.004Z, answer put ("));
  EXPECT_THAT(text.out, HasSubstr("\n1 sessions\n"));
  const std::vector<json> lines = Lines(Dump({"sessions", "-o", "jsonl"}).out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["client"], Base64("0123456789abcdef"));
  EXPECT_EQ(lines[0]["sequence"], 1);
  EXPECT_EQ(lines[0]["status"], "ok");
  EXPECT_EQ(Lines(Dump({"sessions", "-o", "jsonl", "--limit", "0"}).out)[0]["sessions"], 0);
  EXPECT_EQ(Lines(Dump({"sessions", "-o", "jsonl", "--client", "x"}).out)[0]["sessions"], 0);
}

TEST_F(DumpTest, ADamagedSession) {
  MakeNode();
  node_->Overwrite(node_->engine()->kv().get(), store::SessionKey("0123456789abcdef"),
                   [](std::string* record) { record->back() ^= 1; });
  node_->FlushKv();
  Crash();
  const ProgramResult result = Dump({"sessions"});
  EXPECT_EQ(result.exit_code, kExitProblems);
  EXPECT_THAT(result.out, HasSubstr("PROBLEM: "));
}

}  // namespace
}  // namespace raftkv::tools::dump
