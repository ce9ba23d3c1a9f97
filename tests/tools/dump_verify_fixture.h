// For the tests of raftkv-dump verify: records changed behind everyone's back, and what is then
// found.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "store/mvcc.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {

class DumpVerifyTest : public DumpTest {
 protected:
  rocksdb::ColumnFamilyHandle* Kv() { return node_->engine()->kv().get(); }
  rocksdb::ColumnFamilyHandle* Log() { return node_->engine()->raft_log(); }
  rocksdb::ColumnFamilyHandle* Meta() { return node_->engine()->raft_meta(); }

  // MakeNode with all of it flushed: applied up to 9, revision 6.
  void MakeFlushedNode() {
    MakeNode();
    node_->FlushAll();
  }

  void PutData(const std::string& key, store::Revision revision, const store::DataRecord& data) {
    const std::string data_key = store::DataKey(key, revision);
    std::string record;
    store::EncodeDataRecord(data_key, revision.main, data, &record);
    node_->Add(Kv(), data_key, record);
  }
  void PutIndex(const std::string& key, store::Revision revision, bool tombstone,
                store::Revision previous) {
    const std::string revision_key = store::RevisionKey(revision);
    std::string record;
    store::EncodeRevisionRecord(revision_key, revision, {tombstone, previous, key}, &record);
    node_->Add(Kv(), revision_key, record);
  }
  void ChangeApplied(const std::function<void(store::AppliedRecord*)>& change) {
    node_->Overwrite(Kv(), store::AppliedKey(), [&](std::string* record) {
      store::AppliedRecord applied = store::DecodeAppliedRecord(*record).value();
      change(&applied);
      *record = store::EncodeAppliedRecord(applied);
    });
  }
  void AppendAndApply(const std::vector<Entry>& entries) {
    node_->Append(entries, {Term(2), NodeId(0xa2), entries.back().index});
    node_->Apply(entries);
    node_->FlushKv();
  }

  // Closes the node and expects a problem of `check` whose text has `what`, and no others but
  // those.
  void ExpectProblem(const std::string& check, const std::string& what, bool deep = false) {
    node_->Close();
    const auto before = Snapshot(directory_);
    std::vector<std::string> arguments{"verify", "-o", "jsonl"};
    if (deep) arguments.push_back("--deep");
    const ProgramResult result = Dump(arguments);
    EXPECT_EQ(result.exit_code, kExitProblems) << result.out << result.err;
    bool found = false;
    for (const nlohmann::json& line : Lines(result.out)) {
      if (line["type"] != "problem") continue;
      const bool matches = line.value("check", "") == check &&
                           line["what"].get<std::string>().find(what) != std::string::npos;
      found = found || matches;
      EXPECT_NE(line.value("means", ""), "") << line;
      EXPECT_NE(line.value("do", ""), "") << line;
    }
    EXPECT_TRUE(found) << "no problem of " << check << " says: " << what << "\n" << result.out;
    EXPECT_EQ(Snapshot(directory_), before);
  }

  void ExpectWhole(const std::vector<std::string>& arguments) {
    const ProgramResult result = Dump(arguments);
    EXPECT_EQ(result.exit_code, kExitFine) << result.out << result.err;
    EXPECT_THAT(result.out, testing::Not(testing::HasSubstr("PROBLEM")));
  }
};

}  // namespace raftkv::tools::dump
