// raftkv-dump on directories made by the engine, the log store and the KV store, as a node makes
// them. What it prints is in tests/testdata/dump; RAFTKV_REWRITE=1 writes those files anew.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/write_batch.h>
#include <nlohmann/json.hpp>

#include "common/crc32c.h"
#include "common/membership_codec.h"
#include "common/rng.h"
#include "rpc.pb.h"
#include "store/command.h"
#include "store/directory_lock.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "store/mvcc.h"
#include "tools/dump/child.h"
#include "tools/dump/report.h"
#include "tools/run_program.h"
#include "tools/support/text.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"
#include "wal/log_store.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kTimeMs = 1'700'000'000'000;

class TempDir {
 public:
  TempDir() {
    std::string path = testing::TempDir() + "raftkv-dump-test.XXXXXX";
    RAFTKV_CHECK(mkdtemp(path.data()) != nullptr, "no temporary directory");
    path_ = path;
  }
  ~TempDir() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

template <typename Request>
Entry CommandEntry(uint64_t index, uint64_t term, store::CommandType type, const Request& request,
                   const store::SessionRef& session = {}) {
  std::string payload =
      store::EncodeCommand(type, 0x1000 + index, session, request.SerializeAsString());
  store::StampCommandTime(&payload, kTimeMs + index);
  return {Index(index), Term(term), EntryKind::kCommand,
          std::make_shared<const std::string>(std::move(payload))};
}

Entry Put(uint64_t index, uint64_t term, const std::string& key, const std::string& value,
          const store::SessionRef& session = {}) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  return CommandEntry(index, term, store::CommandType::kPut, request, session);
}

Entry Delete(uint64_t index, uint64_t term, const std::string& key, const std::string& range_end) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  return CommandEntry(index, term, store::CommandType::kDeleteRange, request);
}

Entry Txn(uint64_t index, uint64_t term) {
  etcdserverpb::TxnRequest request;
  auto* compare = request.add_compare();
  compare->set_key("a");
  compare->set_target(etcdserverpb::Compare::VERSION);
  compare->set_result(etcdserverpb::Compare::GREATER);
  compare->set_version(0);
  auto* put = request.add_success()->mutable_request_put();
  put->set_key("txn");
  put->set_value("yes");
  request.add_success()->mutable_request_range()->set_key("a");
  request.add_failure()->mutable_request_delete_range()->set_key("a");
  return CommandEntry(index, term, store::CommandType::kTxn, request);
}

Entry Member(uint64_t index, uint64_t term) {
  etcdserverpb::Member member;
  member.set_id(0xa1);
  member.set_name("n1");
  member.add_clienturls("http://127.0.0.1:2379");
  return CommandEntry(index, term, store::CommandType::kMemberAttributes, member);
}

Entry Alarm(uint64_t index, uint64_t term) {
  etcdserverpb::AlarmRequest request;
  request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.set_memberid(0xa2);
  request.set_alarm(etcdserverpb::NOSPACE);
  return CommandEntry(index, term, store::CommandType::kAlarm, request);
}

// a2 was removed, a4 joins.
Entry Config(uint64_t index, uint64_t term) {
  Membership membership;
  membership.voters = {NodeId(0xa1), NodeId(0xa3)};
  membership.learners = {NodeId(0xa4)};
  membership.info[NodeId(0xa1)].peer_urls = {"http://127.0.0.1:2380"};
  membership.info[NodeId(0xa4)] = {{"http://127.0.0.4:2380"}, /*promote=*/true};
  membership.removed = {NodeId(0xa2)};
  return {Index(index), Term(term), EntryKind::kConfig,
          std::make_shared<const std::string>(EncodeMembership(membership))};
}

Entry Compact(uint64_t index, uint64_t term, int64_t revision) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  return CommandEntry(index, term, store::CommandType::kCompact, request);
}

// A node's data directory, written to as a node does and left as a crash does.
class Node {
 public:
  explicit Node(std::string path) : path_(std::move(path)) {
    fs::create_directory(path_);
    store::EngineOptions options = Options();
    Membership membership;
    membership.voters = {NodeId(0xa1), NodeId(0xa2), NodeId(0xa3)};
    store::NodeIdentity identity;
    identity.cluster = ClusterId(0xc1);
    identity.node = NodeId(0xa1);
    identity.node_name = "n1";
    Check(store::Engine::Bootstrap(options, identity, wal::LogStore::BootstrapRecords(membership)));
    Open();
  }

  // As a crash: nothing is flushed.
  void Close() {
    kv_.reset();
    log_.reset();
    engine_.reset();
  }

  void Append(std::vector<Entry> entries, const HardState& hard_state) {
    raft::AppendTask task;
    task.entries = std::move(entries);
    task.hard_state = hard_state;
    rocksdb::WriteBatch batch;
    Check(log_->AddToBatch(task, &batch));
    Write(&batch);
  }

  void Apply(const std::vector<Entry>& entries) {
    std::vector<store::ApplyResult> results;
    kv_->Apply(entries, &results);
  }

  void FlushKv() { Check(engine_->FlushKv()); }
  void FlushAll() { Check(engine_->FlushAll()); }

  // Changes a record behind everyone's back.
  void Overwrite(rocksdb::ColumnFamilyHandle* family, const std::string& key,
                 const std::function<void(std::string*)>& change) {
    std::string record;
    RAFTKV_CHECK(engine_->db()->Get(rocksdb::ReadOptions(), family, key, &record).ok(), key);
    change(&record);
    rocksdb::WriteBatch batch;
    RAFTKV_CHECK(batch.Put(family, key, record).ok(), key);
    Write(&batch);
  }
  void Remove(rocksdb::ColumnFamilyHandle* family, const std::string& key) {
    rocksdb::WriteBatch batch;
    RAFTKV_CHECK(batch.Delete(family, key).ok(), key);
    Write(&batch);
  }

  store::Engine* engine() { return engine_.get(); }

 private:
  static void Check(const Status& status) { RAFTKV_CHECK(status.ok(), status.ToString()); }

  store::EngineOptions Options() const {
    store::EngineOptions options;
    options.path = path_ + "/db";
    return options;
  }

  void Open() {
    engine_ = store::Engine::Open(Options()).value();
    log_ = std::make_unique<wal::LogStore>(engine_.get());
    Check(log_->Recover().status());
    kv_ = store::KvStore::Open(engine_.get(), {}).value();
  }

  void Write(rocksdb::WriteBatch* batch) {
    rocksdb::WriteOptions options;
    options.sync = true;
    const rocksdb::Status status = engine_->db()->Write(options, batch);
    RAFTKV_CHECK(status.ok(), status.ToString());
  }

  const std::string path_;
  std::unique_ptr<store::Engine> engine_;
  std::unique_ptr<wal::LogStore> log_;
  std::unique_ptr<store::KvStore> kv_;
};

// Every file under `path` with its size, time of change and contents.
std::map<std::string, std::string> Snapshot(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& file : fs::recursive_directory_iterator(path)) {
    struct stat info = {};
    RAFTKV_CHECK(stat(file.path().c_str(), &info) == 0, file.path());
    std::string state = std::to_string(info.st_mtim.tv_sec) + "." +
                        std::to_string(info.st_mtim.tv_nsec) + " " + std::to_string(info.st_size);
    if (file.is_regular_file()) state += " " + std::to_string(Crc32c(ReadFile(file.path())));
    files[file.path()] = state;
  }
  return files;
}

void FlipByte(const std::string& file, off_t offset, char bits) {
  const int fd = open(file.c_str(), O_RDWR);
  char byte = 0;
  RAFTKV_CHECK(pread(fd, &byte, 1, offset) == 1, file);
  byte = static_cast<char>(byte ^ bits);
  RAFTKV_CHECK(pwrite(fd, &byte, 1, offset) == 1, file);
  close(fd);
}

std::vector<json> Lines(const std::string& text) {
  std::vector<json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
  return out;
}

class DumpTest : public testing::Test {
 protected:
  DumpTest() : directory_(temp_.path() + "/n1") {}

  // Nine entries in two terms: applied up to 9, committed up to 8, flushed as keys up to 5.
  void MakeNode() {
    node_ = std::make_unique<Node>(directory_);
    const std::vector<Entry> entries = {
        {Index(1), Term(1), EntryKind::kNoop, nullptr},
        Member(2, 1),
        Put(3, 1, "a", "1"),
        Put(4, 1, std::string("b\0\xff", 3), "two\nlines", {"0123456789abcdef", 1}),
        Put(5, 1, "c/x", std::string(30, 'v')),
        {Index(6), Term(2), EntryKind::kNoop, nullptr},
        Put(7, 2, "a", "2"),
        Txn(8, 2),
        Delete(9, 2, "c/", "c0")};
    node_->Append({entries.begin(), entries.begin() + 5}, {Term(1), NodeId(0xa1), Index(5)});
    node_->Append({entries.begin() + 5, entries.end()}, {Term(2), NodeId(0xa2), Index(8)});
    node_->Apply({entries.begin(), entries.begin() + 5});
    node_->FlushKv();
    node_->Apply({entries.begin() + 5, entries.end()});
  }

  void Crash() { node_->Close(); }

  ProgramResult Dump(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin() + 1, directory_);
    return RunProgram(RAFTKV_DUMP, arguments, temp_.path());
  }

  // Compares with, or writes, tests/testdata/dump/`name`.
  void ExpectGolden(const std::string& name, std::string text) {
    text = std::regex_replace(text, std::regex(temp_.path()), "TEMP");
    const std::string path = std::string(RAFTKV_SOURCE_DIR) + "/tests/testdata/dump/" + name;
    if (std::getenv("RAFTKV_REWRITE") != nullptr) std::ofstream(path, std::ios::binary) << text;
    EXPECT_EQ(text, ReadFile(path)) << "RAFTKV_REWRITE=1 writes " << path;
  }

  std::string OnlyFile(const std::string& prefix) {
    std::string found;
    for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
      if (!file.path().filename().string().starts_with(prefix)) continue;
      EXPECT_EQ(found, "") << "more than one file called " << prefix;
      found = file.path();
    }
    return found;
  }

  // Flips a bit in one of the files that `wanted` chooses, `rounds` times.
  void ExpectFlipsAreFound(int rounds, const std::function<bool(const std::string&)>& wanted) {
    const std::string log = Dump({"log", "--values"}).out;
    const std::string keys = Dump({"keys"}).out;
    std::vector<std::string> files;
    for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
      if (file.file_size() > 0 && wanted(file.path().filename())) files.push_back(file.path());
    }
    std::sort(files.begin(), files.end());
    ASSERT_FALSE(files.empty());
    Rng rng(2024);
    for (int round = 0; round < rounds; ++round) {
      const std::string& file = files[static_cast<size_t>(round) % files.size()];
      const auto offset = static_cast<off_t>(rng.Below(fs::file_size(file)));
      const auto bits = static_cast<char>(1u << rng.Below(8));
      FlipByte(file, offset, bits);
      ExpectFoundOrHarmless(file + " at " + std::to_string(offset), log, keys);
      FlipByte(file, offset, bits);
    }
  }

  void ExpectFoundOrHarmless(const std::string& what, const std::string& log,
                             const std::string& keys) {
    const auto before = Snapshot(directory_);
    const ProgramResult log_now = Dump({"log", "--values"});
    const ProgramResult keys_now = Dump({"keys"});
    EXPECT_LE(log_now.exit_code, kExitCouldNotRun) << what;
    EXPECT_LE(keys_now.exit_code, kExitCouldNotRun) << what;
    if (log_now.exit_code == kExitFine && log_now.out != log) {
      // A last write that was cut off is what a crash leaves, and shortens the log.
      const ProgramResult meta = Dump({"meta", "-o", "json", "--quick"});
      EXPECT_EQ(json::parse(meta.out)["wal"]["tail"], "torn") << what << "\n" << log_now.out;
    }
    if (keys_now.exit_code == kExitFine) {
      EXPECT_EQ(keys_now.out, keys) << what;
    }
    EXPECT_EQ(Snapshot(directory_), before) << what;
  }

  const TempDir temp_;
  const std::string directory_;
  std::unique_ptr<Node> node_;
};

// Sizes, estimates and the number of WAL files are RocksDB's business.
std::string WithoutSizes(std::string text) {
  text = std::regex_replace(
      text, std::regex("(sst_bytes|memtable_bytes|keys_estimate|valid_bytes|bytes|records) [0-9]+"),
      "$1 N");
  text = std::regex_replace(text, std::regex("[0-9]{6}\\.log"), "N.log");
  return std::regex_replace(text, std::regex("(wal file [^\n]*\n)+"), "$1");
}

TEST_F(DumpTest, LogShowsConfigurationsAndAlarms) {
  node_ = std::make_unique<Node>(directory_);
  node_->Append({{Index(1), Term(1), EntryKind::kNoop, nullptr}, Config(2, 1), Alarm(3, 1)},
                {Term(1), NodeId(0xa1), Index(3)});
  Crash();
  const ProgramResult text = Dump({"log"});
  EXPECT_EQ(text.exit_code, 0) << text.out << text.err;
  EXPECT_THAT(text.out, testing::HasSubstr(
                            ": voters a1 a3, learners a4, removed a2; a1 at http://127.0.0.1:2380; "
                            "a4 at http://127.0.0.4:2380 (to be promoted)\n"));
  EXPECT_THAT(text.out, testing::HasSubstr(": alarm NOSPACE of member a2: ACTIVATE, request "));
  const std::vector<json> lines = Lines(Dump({"log", "-o", "jsonl"}).out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[1]["config"]["learners"], json::array({"a4"}));
  EXPECT_EQ(lines[1]["config"]["members"][1]["promote"], true);
  EXPECT_EQ(lines[2]["command"]["alarm"], "NOSPACE");
}

TEST_F(DumpTest, Meta) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"meta"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("meta.txt", WithoutSizes(text.out));

  const ProgramResult as_json = Dump({"meta", "-o", "json"});
  EXPECT_EQ(as_json.exit_code, kExitFine);
  const json meta = json::parse(as_json.out);
  EXPECT_EQ(meta["node_id"], "a1");
  EXPECT_EQ(meta["cluster_id"], "c1");
  EXPECT_EQ(meta["log"]["first"], 1);
  EXPECT_EQ(meta["log"]["last"], 9);
  EXPECT_EQ(meta["log"]["last_term"], 2);
  EXPECT_EQ(meta["hard_state"]["commit"], 8);
  EXPECT_EQ(meta["hard_state"]["vote"], "a2");
  EXPECT_EQ(meta["applied"]["index"], 5);
  EXPECT_EQ(meta["applied"]["revision"], 4);
  EXPECT_EQ(Lines(Dump({"meta", "-o", "jsonl"}).out), std::vector<json>{meta});
  EXPECT_EQ(Dump({"meta", "--quick"}).exit_code, kExitFine);
}

TEST_F(DumpTest, MetaOfADirectoryThatNeverFlushedKeys) {
  node_ = std::make_unique<Node>(directory_);
  Crash();
  const ProgramResult result = Dump({"meta", "-o", "json"});
  EXPECT_EQ(result.exit_code, kExitFine) << result.out << result.err;
  EXPECT_EQ(json::parse(result.out)["log"]["first"], nullptr);
  const ProgramResult keys = Dump({"keys", "--replay"});
  EXPECT_EQ(keys.exit_code, kExitFine) << keys.out << keys.err;
  EXPECT_THAT(keys.out, HasSubstr("0 keys\n"));
}

TEST_F(DumpTest, Log) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"log"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("log.txt", text.out);
  const ProgramResult lines = Dump({"log", "-o", "jsonl", "--values"});
  EXPECT_EQ(lines.exit_code, kExitFine);
  ExpectGolden("log.jsonl", lines.out);
  EXPECT_EQ(Dump({"log", "-o", "json"}).exit_code, kExitCouldNotRun);
}

TEST_F(DumpTest, PartOfTheLog) {
  MakeNode();
  Crash();
  const std::vector<json> part =
      Lines(Dump({"log", "--from", "4", "--to", "6", "-o", "jsonl"}).out);
  ASSERT_EQ(part.size(), 4u);
  EXPECT_EQ(part[0]["index"], 4);
  EXPECT_EQ(part[2]["index"], 6);
  EXPECT_EQ(part[3]["entries"], 3);
  EXPECT_EQ(Lines(Dump({"log", "--from", "10", "-o", "jsonl"}).out)[0]["entries"], 0);
}

TEST_F(DumpTest, KeysAsTheyWereFlushed) {
  MakeNode();
  Crash();
  const ProgramResult text = Dump({"keys"});
  EXPECT_EQ(text.exit_code, kExitFine) << text.err;
  ExpectGolden("keys.txt", text.out);
  const ProgramResult lines = Dump({"keys", "-o", "jsonl", "--prefix", "b"});
  EXPECT_EQ(lines.exit_code, kExitFine);
  ExpectGolden("keys_prefix.jsonl", lines.out);
  EXPECT_EQ(Dump({"keys", "-o", "jsonl", "--hex-input", "--prefix", "6200"}).out, lines.out);
}

TEST_F(DumpTest, KeysAtARevision) {
  MakeNode();
  Crash();
  const ProgramResult result = Dump({"keys", "--revision", "2"});
  EXPECT_EQ(result.exit_code, kExitFine) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"a\" = \"1\""));
  EXPECT_THAT(result.out, HasSubstr("1 keys\n"));
  const ProgramResult future = Dump({"keys", "--revision", "5"});
  EXPECT_EQ(future.exit_code, kExitCouldNotRun);
  EXPECT_THAT(future.err, HasSubstr("the newest revision here is 4"));
}

TEST_F(DumpTest, KeysWithTheCommittedLogReplayed) {
  MakeNode();
  Crash();
  const ProgramResult committed = Dump({"keys", "--replay"});
  EXPECT_EQ(committed.exit_code, kExitFine) << committed.err;
  ExpectGolden("keys_replay.txt", committed.out);
  const ProgramResult last = Dump({"keys", "--replay", "--through", "last"});
  EXPECT_EQ(last.exit_code, kExitFine) << last.err;
  ExpectGolden("keys_replay_last.txt", last.out);
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "9"}).out, last.out);
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "8"}).out, committed.out);
  EXPECT_THAT(Dump({"keys", "--replay", "--through", "last", "--revision", "4"}).out,
              HasSubstr("\"a\" = \"1\""));
}

TEST_F(DumpTest, WhatCanNotBeReplayed) {
  MakeNode();
  Crash();
  const ProgramResult beyond = Dump({"keys", "--replay", "--through", "10"});
  EXPECT_EQ(beyond.exit_code, kExitCouldNotRun);
  EXPECT_THAT(beyond.err, HasSubstr("the log ends at index 9"));
  const ProgramResult before = Dump({"keys", "--replay", "--through", "4"});
  EXPECT_EQ(before.exit_code, kExitCouldNotRun);
  EXPECT_THAT(before.err, HasSubstr("already applied up to index 5"));
  EXPECT_EQ(Dump({"keys", "--through", "9"}).exit_code, kExitCouldNotRun);
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "x"}).exit_code, kExitCouldNotRun);
}

TEST_F(DumpTest, AfterACompaction) {
  MakeNode();
  const std::vector<Entry> more = {Compact(10, 2, 5)};
  node_->Append(more, {Term(2), NodeId(0xa2), Index(10)});
  node_->Apply(more);
  node_->FlushKv();
  Crash();
  EXPECT_EQ(json::parse(Dump({"meta", "-o", "json"}).out)["applied"]["compact_revision"], 5);
  EXPECT_EQ(Dump({"keys", "--revision", "5"}).exit_code, kExitFine);
  const ProgramResult result = Dump({"keys", "--revision", "4"});
  EXPECT_EQ(result.exit_code, kExitCouldNotRun);
  EXPECT_THAT(result.err, HasSubstr("revisions before 5 have been compacted"));
}

TEST_F(DumpTest, ChangesNothing) {
  MakeNode();
  Crash();
  const auto before = Snapshot(directory_);
  ASSERT_GE(before.size(), 5u);
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"meta"}, {"log"}, {"keys"}, {"keys", "--replay", "--through", "last"}}) {
    EXPECT_EQ(Dump(arguments).exit_code, kExitFine);
    EXPECT_EQ(Snapshot(directory_), before) << arguments.front();
  }
}

TEST_F(DumpTest, LeavesNoScratchCopyBehind) {
  MakeNode();
  Crash();
  const std::string scratch = temp_.path() + "/scratch";
  fs::create_directory(scratch);
  EXPECT_EQ(Dump({"keys", "--replay", "--scratch-dir", scratch}).exit_code, kExitFine);
  EXPECT_TRUE(fs::is_empty(scratch));
  EXPECT_EQ(Dump({"keys", "--replay", "--through", "99", "--scratch-dir", scratch}).exit_code,
            kExitCouldNotRun);
  EXPECT_TRUE(fs::is_empty(scratch));
  EXPECT_EQ(Dump({"keys", "--replay", "--scratch-dir", scratch + "/none"}).exit_code,
            kExitCouldNotRun);
}

TEST_F(DumpTest, ADamagedEntryIsReportedAndTheOthersAreShown) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(4)),
                   [](std::string* record) { (*record)[20] ^= 1; });
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entry 4 is damaged: "));
  EXPECT_THAT(log.out, HasSubstr("index 3 "));
  EXPECT_THAT(log.out, HasSubstr("index 9 "));
  EXPECT_THAT(log.out, HasSubstr("8 entries; the log is 1 to 9"));
  EXPECT_THAT(log.err, HasSubstr("1 problem(s) found"));
  EXPECT_EQ(Dump({"log", "--from", "5"}).exit_code, kExitFine);
  EXPECT_EQ(Lines(Dump({"log", "-o", "jsonl"}).out)[3]["type"], "problem");
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: a node would not start on this log: "));
  EXPECT_EQ(Dump({"meta", "--quick"}).exit_code, kExitFine);
  EXPECT_EQ(Dump({"keys", "--replay"}).exit_code, kExitProblems);
}

TEST_F(DumpTest, AMissingEntryIsAGap) {
  MakeNode();
  node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(4)));
  node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(5)));
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entries 4 to 5 are missing\n"));
  EXPECT_THAT(log.out, HasSubstr("7 entries"));
  EXPECT_EQ(Dump({"meta"}).exit_code, kExitProblems);
}

TEST_F(DumpTest, ATermThatGoesBack) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(7)),
                   [](std::string* record) { *record = wal::EncodeEntry(Put(7, 1, "a", "2")); });
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entry 7 has term 1, lower than term 2 before it"));
}

TEST_F(DumpTest, AnEntryWithARightChecksumThatIsNoCommand) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(7)), [](std::string* record) {
    *record = wal::EncodeEntry({Index(7), Term(2), EntryKind::kCommand,
                                std::make_shared<const std::string>("no command")});
  });
  Crash();
  const ProgramResult log = Dump({"log"});
  EXPECT_EQ(log.exit_code, kExitProblems);
  EXPECT_THAT(log.out, HasSubstr("PROBLEM: entry 7 is damaged: "));
}

TEST_F(DumpTest, ADamagedHardState) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_meta(), std::string(wal::kHardStateKey),
                   [](std::string* record) { (*record)[3] ^= 0x40; });
  Crash();
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: the hard state: "));
  EXPECT_THAT(meta.out, HasSubstr("last 9"));
}

TEST_F(DumpTest, StateThatIsAheadOfTheLog) {
  MakeNode();
  for (uint64_t index = 5; index <= 9; ++index) {
    node_->Remove(node_->engine()->raft_log(), wal::LogKey(Index(index)));
  }
  Crash();
  const ProgramResult meta = Dump({"meta", "--quick"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: committed up to 8, but the log ends at 4"));
  EXPECT_THAT(meta.out, HasSubstr("PROBLEM: applied up to 5, but the log ends at 4"));
}

TEST_F(DumpTest, StateFromAnotherLog) {
  MakeNode();
  node_->Overwrite(node_->engine()->raft_log(), wal::LogKey(Index(5)), [](std::string* record) {
    *record = wal::EncodeEntry({Index(5), Term(2), EntryKind::kNoop, nullptr});
  });
  Crash();
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems);
  EXPECT_THAT(meta.out,
              HasSubstr("PROBLEM: entry 5 was applied with term 1, but has term 2 in the log"));
}

TEST_F(DumpTest, ADamagedVersionHidesItsKeyAndIsReported) {
  MakeNode();
  // The newer of the two versions of "a": the older one must not take its place.
  node_->Overwrite(node_->engine()->kv().get(), store::DataKey("a", {5, 0}),
                   [](std::string* record) { record->back() ^= 1; });
  node_->FlushKv();
  Crash();
  const ProgramResult keys = Dump({"keys"});
  EXPECT_EQ(keys.exit_code, kExitProblems);
  EXPECT_THAT(keys.out, HasSubstr("PROBLEM: "));
  EXPECT_THAT(keys.out, Not(HasSubstr("\"a\" = ")));
  EXPECT_THAT(keys.out, HasSubstr("\"txn\" = "));
}

TEST_F(DumpTest, ADamagedWalFile) {
  MakeNode();
  Crash();
  std::string wal;
  for (const auto& file : fs::directory_iterator(directory_ + "/db")) {
    if (file.path().extension() == ".log" && file.file_size() > 0) wal = file.path();
  }
  ASSERT_FALSE(wal.empty());
  // In the first record, with valid ones behind it: no crash leaves that.
  FlipByte(wal, 40, 1);
  const auto before = Snapshot(directory_);
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitProblems) << meta.out << meta.err;
  EXPECT_THAT(meta.out, HasSubstr(fs::path(wal).filename().string()));
  EXPECT_EQ(Snapshot(directory_), before);
}

// Whatever byte is wrong: the tool ends by itself, changes nothing, and either finds the problem or
// shows everything there is.
TEST_F(DumpTest, AnyFlippedByteIsFoundOrDoesNotMatter) {
  MakeNode();
  node_->FlushKv();
  Crash();
  ExpectFlipsAreFound(48, [](const std::string& name) {
    // LOG is for people; LOCK is empty.
    return !name.starts_with("LOG") && name != "LOCK";
  });
}

// After a clean stop the list of files is all there is to say where the log is.
TEST_F(DumpTest, AnyFlippedByteInTheManifestAfterACleanStop) {
  MakeNode();
  node_->FlushAll();
  Crash();
  ExpectFlipsAreFound(48, [](const std::string& name) { return name.starts_with("MANIFEST"); });
}

// The same bytes where it is known to matter: RocksDB alone takes each for the end of the file.
TEST_F(DumpTest, AFlippedLengthInTheManifestIsFound) {
  MakeNode();
  node_->FlushAll();
  Crash();
  const std::string manifest = OnlyFile("MANIFEST");
  const std::string bytes = ReadFile(manifest);
  int chunks = 0;
  for (size_t at = 0; at + 7 < bytes.size(); ++chunks) {
    const size_t length = static_cast<uint8_t>(bytes[at + 4]) +
                          (static_cast<size_t>(static_cast<uint8_t>(bytes[at + 5])) << 8);
    FlipByte(manifest, static_cast<off_t>(at + 5), 0x40);
    const ProgramResult meta = Dump({"meta"});
    EXPECT_EQ(meta.exit_code, kExitProblems) << at;
    EXPECT_THAT(meta.out, HasSubstr("is damaged at offset " + std::to_string(at) + ": "));
    FlipByte(manifest, static_cast<off_t>(at + 5), 0x40);
    at += 7 + length;
  }
  EXPECT_GE(chunks, 3);
}

// What a crash leaves: some of the last record is not there.
TEST_F(DumpTest, AManifestWhoseEndWasCutOffIsNotDamage) {
  MakeNode();
  Crash();
  const std::string manifest = OnlyFile("MANIFEST");
  std::ofstream(manifest, std::ios::binary | std::ios::app)
      << std::string("\x12\x34\x56\x78\x40\0\1xyz", 10);
  const ProgramResult meta = Dump({"meta"});
  EXPECT_EQ(meta.exit_code, kExitFine) << meta.out << meta.err;
}

TEST_F(DumpTest, ARunningNodeIsLeftAlone) {
  MakeNode();
  Crash();
  auto lock = store::DirectoryLock::Acquire(directory_);
  ASSERT_TRUE(lock.ok());
  const ProgramResult result = Dump({"meta"});
  EXPECT_EQ(result.exit_code, kExitCouldNotRun);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("a node is running on "));
  lock->reset();
  EXPECT_EQ(Dump({"meta"}).exit_code, kExitFine);
}

TEST_F(DumpTest, WhatIsNotANodesDirectory) {
  const ProgramResult nothing = Dump({"meta"});
  EXPECT_EQ(nothing.exit_code, kExitCouldNotRun);
  EXPECT_THAT(nothing.err, HasSubstr("No such file or directory"));
  fs::create_directory(directory_);
  const ProgramResult empty = Dump({"meta"});
  EXPECT_EQ(empty.exit_code, kExitCouldNotRun);
  EXPECT_THAT(empty.err, HasSubstr("give the node's --data-dir"));
}

TEST_F(DumpTest, Usage) {
  EXPECT_EQ(RunProgram(RAFTKV_DUMP, {}, temp_.path()).exit_code, kExitCouldNotRun);
  EXPECT_EQ(RunProgram(RAFTKV_DUMP, {"fetch"}, temp_.path()).exit_code, kExitCouldNotRun);
  EXPECT_EQ(RunProgram(RAFTKV_DUMP, {"log"}, temp_.path()).exit_code, kExitCouldNotRun);
  EXPECT_EQ(Dump({"log", "-o", "xml"}).exit_code, kExitCouldNotRun);
  const ProgramResult help = RunProgram(RAFTKV_DUMP, {"keys", "--help"}, temp_.path());
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("raftkv-dump keys data/n1 --replay"));
}

// RunInChild, with its output in a file.
class ChildTest : public testing::Test {
 protected:
  int Run(const std::function<int(Report*)>& work) {
    const std::string path = temp_.path() + "/out";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    const int code = RunInChild(Format::kText, fd, work);
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
  EXPECT_EQ(RunInChild(Format::kText, full,
                       [](Report* report) {
                         report->Record([] { return std::string("x"); }, [] { return Json(); });
                         return report->exit_code();
                       }),
            kExitCouldNotRun);
  close(full);
}

}  // namespace
}  // namespace raftkv::tools::dump
