// For the tests of raftkv-dump's subcommands: directories made by the engine, the log store and the
// KV store, as a node makes them; what a command prints; and damage.
//
// What a command prints is kept in tests/testdata/dump; RAFTKV_REWRITE=1 writes those files anew.
// Tests of a subcommand are in dump_NAME_test.cc and derive from DumpTest.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <google/protobuf/message_lite.h>
#include <gtest/gtest.h>
#include <rocksdb/write_batch.h>
#include <nlohmann/json.hpp>

#include "common/membership.h"
#include "common/types.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "tools/dump/report.h"
#include "tools/run_program.h"
#include "wal/log_store.h"

namespace raftkv::tools::dump {

// The time of entry `index` is this plus `index`.
inline constexpr uint64_t kTimeMs = 1'700'000'000'000;

// Removed with all that is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Entries for the log.
Entry Noop(uint64_t index, uint64_t term);
Entry Put(uint64_t index, uint64_t term, const std::string& key, const std::string& value,
          const store::SessionRef& session = {});
Entry Delete(uint64_t index, uint64_t term, const std::string& key, const std::string& range_end);
// If "a" exists, puts "txn" and reads "a"; else deletes "a".
Entry Txn(uint64_t index, uint64_t term);
Entry CommandEntry(uint64_t index, uint64_t term, store::CommandType type,
                   const google::protobuf::MessageLite& request,
                   const store::SessionRef& session = {});
Entry RawCommandEntry(uint64_t index, uint64_t term, store::CommandType type, std::string_view body,
                      const store::SessionRef& session);
// a1's name and address.
Entry Member(uint64_t index, uint64_t term);
// a2 is out of space.
Entry Alarm(uint64_t index, uint64_t term);
// 50 sessions, for a minute.
Entry SessionLimits(uint64_t index, uint64_t term);
// a2 was removed, a4 joins.
Entry Config(uint64_t index, uint64_t term);
Entry Config(uint64_t index, uint64_t term, const Membership& membership);
Entry Compact(uint64_t index, uint64_t term, int64_t revision);

// The data directory of node a1 in a cluster of a1, a2 and a3, written to as a node does and left
// as a crash does. Aborts on errors.
class Node {
 public:
  explicit Node(std::string path);
  // Any other node.
  Node(std::string path, const store::NodeIdentity& identity, const Membership& membership);
  // A directory that another Node made and closed.
  enum Reopen { kReopen };
  Node(std::string path, Reopen) : path_(std::move(path)) { Open(); }

  // As a crash: nothing is flushed.
  void Close();
  // Again after Close, as a restart.
  void Open();

  // Durably, as the log writer does.
  void Append(std::vector<Entry> entries, const HardState& hard_state);
  void Append(const raft::AppendTask& task);
  void Apply(const std::vector<Entry>& entries);
  // Removes some of what a compaction made unreachable; true while more remains.
  bool CompactStep() { return kv_->CompactStep(1000); }

  void FlushKv();
  void FlushAll();
  // What a cut of the log took off.
  void DeleteLeftovers();

  // Changes a record behind everyone's back.
  void Overwrite(rocksdb::ColumnFamilyHandle* family, const std::string& key,
                 const std::function<void(std::string*)>& change);
  void Remove(rocksdb::ColumnFamilyHandle* family, const std::string& key);
  void Add(rocksdb::ColumnFamilyHandle* family, const std::string& key, const std::string& record);

  store::Engine* engine() { return engine_.get(); }
  store::KvStore* kv() { return kv_.get(); }

 private:
  store::EngineOptions Options() const;
  void Write(rocksdb::WriteBatch* batch);

  const std::string path_;
  std::unique_ptr<store::Engine> engine_;
  std::unique_ptr<wal::LogStore> log_;
  std::unique_ptr<store::KvStore> kv_;
};

// As a run of node a1 that ended with its log at `last` leaves the fence of the data directory
// `path`; term and vote as given.
void MakeFence(const std::string& path, LogPosition last, Term term, NodeId vote = NodeId());

// Every file under `path` with its size, time of change and contents: equal where nothing was
// changed.
std::map<std::string, std::string> Snapshot(const std::string& path);

void FlipByte(const std::string& file, off_t offset, char bits);

// JSON lines, parsed.
std::vector<nlohmann::json> Lines(const std::string& text);

class DumpTest : public testing::Test {
 protected:
  DumpTest() : directory_(temp_.path() + "/n1") {}

  // Nine entries in two terms.
  static std::vector<Entry> Entries();
  // With them: applied up to 9, committed up to 8, flushed as keys up to 5.
  void MakeNode();
  void Crash() { node_->Close(); }

  // "raftkv-dump COMMAND DIRECTORY ...", for `arguments` COMMAND and the rest.
  ProgramResult Dump(std::vector<std::string> arguments);

  // Compares with, or writes, tests/testdata/dump/`name`.
  void ExpectGolden(const std::string& name, std::string text);

  // The newest WAL file with anything in it.
  std::string NewestWal() const;

  // The one file in db/ whose name starts so.
  std::string OnlyFile(const std::string& prefix);

  const TempDir temp_;
  const std::string directory_;
  std::unique_ptr<Node> node_;
};

}  // namespace raftkv::tools::dump
