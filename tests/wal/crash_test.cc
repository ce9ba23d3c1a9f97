// Crashes at every step: of a run, of the recovery from a crash, and again and again. After each,
// the node must start by itself and hold exactly what it had acknowledged, or that and the one task
// that was under way.
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include <gtest/gtest.h>

#include "common/crc32c.h"
#include "common/rng.h"
#include "wal/hooked_fs.h"
#include "wal/log_writer.h"
#include "wal/wal_scanner.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

namespace fs = std::filesystem;
using store::Engine;
using store::WalRecovery;

// What can be told after recovery, of the log and of the applied state.
struct LogState {
  HardState hard_state;
  LogPosition before_first;
  Membership membership;
  Index last;
  std::vector<raft::TermRun> terms;
  std::string kv;

  bool operator==(const LogState&) const = default;
};

LogState StateOf(Engine* engine, const RecoveredLog& log) {
  std::string kv;
  if (!engine->db()->Get({}, engine->kv().get(), "applied", &kv).ok()) kv = "nothing";
  return {log.hard_state, log.before_first, log.membership, log.last, log.terms, kv};
}

std::ostream& operator<<(std::ostream& out, const LogState& state) {
  out << "term " << state.hard_state.term << ", kv " << state.kv << ", start "
      << state.before_first.index << ' ' << ToString(state.membership) << ", last " << state.last
      << ", runs";
  for (const raft::TermRun& run : state.terms) out << ' ' << run.first << '@' << run.term;
  return out;
}

// A running node's engine, log and writer over a hooked file system; one task at a time.
class Node {
 public:
  explicit Node(const std::string& path) : path_(path) {}
  ~Node() {
    hooked_.fs->SetHook(nullptr);
    writer_.reset();
  }

  Status Start() {
    RAFTKV_ASSIGN_OR_RETURN(engine_, ScanAndOpen(path_, hooked_.env.get()));
    log_ = std::make_unique<LogStore>(engine_.get());
    RAFTKV_ASSIGN_OR_RETURN(const RecoveredLog recovered, log_->Recover());
    last_ = recovered.last;
    hard_state_ = recovered.hard_state;
    writer_ = std::make_unique<LogWriter>(
        engine_.get(), log_.get(), /*fence=*/nullptr,
        [this](std::span<raft::AppendTask> tasks) {
          std::lock_guard lock(mutex_);
          done_ = tasks.back().seq;
          changed_.notify_all();
        },
        nullptr);
    return Status::Ok();
  }

  // Appends `count` entries of `bytes` in a new term, after cutting the last `cut` off, and waits
  // until that is durable.
  void Append(uint64_t count, size_t bytes, uint64_t cut = 0) {
    raft::AppendTask task;
    task.seq = ++seq_;
    ++hard_state_.term;
    if (cut > 0) {
      last_ = last_ - cut;
      task.truncate_from = last_ + 1;
    }
    for (uint64_t i = 0; i < count; ++i) {
      ++last_;
      task.entries.push_back(
          MakeEntry(last_.value(), hard_state_.term.value(), std::string(bytes, 'a')));
    }
    task.hard_state = hard_state_;
    Finish(std::move(task));
  }

  // Cuts all but the last `keep` entries off; entry `last - keep` is of term `term`.
  void Cut(uint64_t keep, Term term) {
    raft::AppendTask task;
    task.seq = ++seq_;
    task.cut = raft::LogStart{{last_ - keep, term}, {}};
    task.cut->membership.voters = {NodeId(last_.value())};
    Finish(std::move(task));
  }

  // A snapshot that lies `ahead` of the log's end takes its place, and one entry follows. Two
  // steps: staging changes nothing.
  void Install(uint64_t ahead, const std::string& table) {
    const auto id = engine_->StageKv(
        {MakeKvTable(table, {{"applied", "snapshot " + std::to_string(seq_)}}, hooked_.env.get())});
    ASSERT_TRUE(id.ok()) << id.status();
    raft::AppendTask task;
    task.seq = ++seq_;
    ++hard_state_.term;
    last_ = last_ + ahead;
    hard_state_.commit = last_;
    task.hard_state = hard_state_;
    task.install = raft::SnapshotMeta{{last_, hard_state_.term}, {}, *id};
    task.install->membership.voters = {NodeId(last_.value())};
    ++last_;
    task.entries = {MakeEntry(last_.value(), hard_state_.term.value(), "follows")};
    Finish(std::move(task));
    ASSERT_TRUE(engine_->AdoptStagedKv(*id).ok());
  }
  Term term() const { return hard_state_.term; }

  // Apply's part: kv is written without WAL and flushed, which begins a new WAL file.
  void FlushKv() {
    rocksdb::WriteOptions write;
    write.disableWAL = true;
    ASSERT_TRUE(engine_->db()->Put(write, engine_->kv().get(), "applied", "position").ok());
    ASSERT_TRUE(engine_->FlushKv().ok());
  }

  StatusOr<RecoveredLog> Recovered() { return LogStore(engine_.get()).Recover(); }
  HookedFileSystem* fs() { return hooked_.fs.get(); }
  Engine* engine() { return engine_.get(); }

 private:
  void Finish(raft::AppendTask task) {
    writer_->Submit(std::move(task));
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_ == seq_; });
  }

  const std::string path_;
  // Less than a run writes: what is filled is used up.
  HookedEnv hooked_{50'000};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<LogStore> log_;
  std::unique_ptr<LogWriter> writer_;
  Index last_;
  HardState hard_state_;
  raft::AppendSeq seq_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  raft::AppendSeq done_ = 0;
};

StatusOr<LogState> StateAfterRestart(const std::string& path) {
  RAFTKV_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, ScanAndOpen(path));
  RAFTKV_ASSIGN_OR_RETURN(const RecoveredLog log, LogStore(engine.get()).Recover());
  return StateOf(engine.get(), log);
}

// The newest file that is not empty: what was being written.
std::string NewestWritten(const std::string& path) {
  std::string newest;
  for (const std::string& wal : WalPaths(path)) {
    if (fs::file_size(wal) > 0) newest = wal;
  }
  return newest;
}

class CrashTest : public ::testing::Test {
 protected:
  // A directory as a crash left it, and how many steps had been acknowledged.
  struct Crash {
    std::string path;
    size_t acknowledged = 0;
    std::string what;
    // Of a killed process's files, by name: how much of each is on disk. The rest is with the
    // kernel still, so that a power failure during the next start can take it.
    std::map<std::string, uint64_t> synced = {};
  };

  std::string NewPath() { return dir_.Sub("crash" + std::to_string(paths_++)); }

  // Crashes before every change to a file: the process is killed; the power fails; the power fails
  // and part of what was not synced is there, or zeros in its place.
  void CrashAtEveryChange(HookedFileSystem* hooked, const std::string& live) {
    hooked->SetHook([this, hooked, live](FileOp op, const std::string& file) {
      std::lock_guard lock(mutex_);
      const std::string what =
          std::to_string(static_cast<int>(op)) + " " + fs::path(file).filename().string();
      const std::string killed = NewPath();
      CopyDirectory(live, killed);
      std::map<std::string, uint64_t> synced;
      for (const auto& [path, bytes] : hooked->SyncedBytes()) {
        synced[fs::path(path).filename().string()] = bytes;
      }
      Keep({killed, acknowledged_, "killed before " + what, std::move(synced)});
      const std::string power_lost = NewPath();
      CopyAsAfterPowerLoss(*hooked, live, power_lost);
      Keep({power_lost, acknowledged_, "power lost before " + what});
      if (IsWal(file) && op == FileOp::kSync) TearUnsynced(hooked, live, file, what);
      return rocksdb::IOStatus::OK();
    });
  }

  void TearUnsynced(HookedFileSystem* hooked, const std::string& live, const std::string& file,
                    const std::string& what) {
    const auto files = hooked->SyncedBytes();
    if (!files.contains(file)) return;  // it was there before, on disk
    const uint64_t synced = files.at(file);
    std::error_code gone;  // a file that is emptied may be deleted by RocksDB meanwhile
    const uint64_t file_size = fs::file_size(file, gone);
    if (gone) return;
    const uint64_t size = LogBytes(file);
    for (const bool zeros : {false, true}) {
      for (int i = 0; i < 2 && size > synced; ++i) {
        const uint64_t cut = synced + rng_.Below(size - synced);
        const std::string path = NewPath();
        CopyDirectory(live, path);
        const std::string copy = path + "/" + fs::path(file).filename().string();
        fs::resize_file(copy, cut);
        if (zeros) fs::resize_file(copy, file_size);
        Keep({path, acknowledged_, "torn before " + what});
      }
    }
  }

  // Many changes leave what a crash before the last one left, too: one of a kind is enough.
  void Keep(Crash crash) {
    std::string contents = std::to_string(crash.acknowledged);
    for (const auto& entry : fs::directory_iterator(crash.path)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("LOG")) continue;
      contents += " " + name + " " + std::to_string(Crc32c(ReadFileBytes(entry.path().string())));
    }
    if (seen_.insert(contents).second) {
      crashes_.push_back(std::move(crash));
    } else {
      fs::remove_all(crash.path);
    }
  }

  void Acknowledge(Node* node) {
    const auto log = node->Recovered();
    ASSERT_TRUE(log.ok()) << log.status();
    std::lock_guard lock(mutex_);
    states_.push_back(StateOf(node->engine(), *log));
    acknowledged_ = states_.size() - 1;
  }

  // Has a new node go through `round` twice, crashing at every change of a file. `round` gets the
  // node, and what makes an action of its a step that is acknowledged at its end.
  template <typename Round>
  void RunTwice(const Round& round) {
    const std::string live = dir_.Sub("live");
    ASSERT_TRUE(BootstrapNode(live).ok());
    Node node(live);
    ASSERT_TRUE(node.Start().ok());
    Acknowledge(&node);
    CrashAtEveryChange(node.fs(), live);
    const auto step = [&](const auto& action) {
      action();
      Acknowledge(&node);
    };
    for (int i = 0; i < 2; ++i) round(node, step);
  }

  void ExpectHolds(const Crash& crash) {
    const auto state = StateAfterRestart(crash.path);
    ASSERT_TRUE(state.ok()) << crash.what << ": " << state.status();
    const bool acknowledged = *state == states_[crash.acknowledged];
    const bool under_way =
        crash.acknowledged + 1 < states_.size() && *state == states_[crash.acknowledged + 1];
    EXPECT_TRUE(acknowledged || under_way)
        << crash.what << ": found " << *state << ", acknowledged " << states_[crash.acknowledged];
  }

  TempDir dir_{TempDir::kMemory};
  Rng rng_{20260101};
  std::mutex mutex_;
  int paths_ = 0;
  size_t acknowledged_ = 0;
  std::vector<LogState> states_;  // after each acknowledged step
  std::vector<Crash> crashes_;
  std::set<std::string> seen_;
};

TEST_F(CrashTest, AtEveryStepOfARunAndOfTheRecoveryFromIt) {
  RunTwice([&](Node& node, const auto& step) {
    step([&] { node.Append(1, 10); });
    step([&] { node.Append(3, 50); });
    step([&] { node.FlushKv(); });
    step([&] { node.Append(2, 40'000); });
    step([&] { node.Append(1, 5, 2); });
    step([&] { node.FlushKv(); });
    step([&] { node.Append(4, 9'000, 3); });
    step([&] { node.Append(1, 0); });
  });
  if (HasFatalFailure()) return;
  const std::vector<Crash> first = std::move(crashes_);
  crashes_.clear();
  ASSERT_GT(first.size(), 80u);
  size_t torn = 0, torn_at_once = 0;
  for (const Crash& crash : first) {
    const auto scan = ScanWalFiles(crash.path);
    ASSERT_TRUE(scan.ok()) << crash.what << ": " << scan.status();
    if (scan->recovery == WalRecovery::kTornTail) {
      ++torn;
      const bool first_without_whole_record = scan->torn_offset == 0 && torn_at_once++ == 0;
      // Every step of the recovery is a crash of its own.
      if (torn % 4 == 0 || first_without_whole_record) {
        CopyDirectory(crash.path, crash.path + ".live");
        acknowledged_ = crash.acknowledged;
        Node node(crash.path + ".live");
        for (const auto& [name, bytes] : crash.synced) {
          node.fs()->NoteSynced(crash.path + ".live/" + name, bytes);
        }
        CrashAtEveryChange(node.fs(), crash.path + ".live");
        ASSERT_TRUE(node.Start().ok()) << crash.what;
      }
    }
    ExpectHolds(crash);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(torn, 10u);
  EXPECT_GT(torn_at_once, 0u);
  EXPECT_GT(crashes_.size(), 50u);
  for (const Crash& crash : crashes_) {
    ExpectHolds(crash);
    if (HasFatalFailure()) return;
  }
}

// The log's start, its entries, the configuration and the applied state change together or not at
// all, and nothing a crash left of the old ones is ever in the way.
TEST_F(CrashTest, AtEveryStepOfCutsAndInstalledSnapshots) {
  RunTwice([&](Node& node, const auto& step) {
    step([&] { node.Append(6, 50); });
    step([&] { node.Cut(2, node.term()); });
    step([&] { node.Append(3, 1'000); });
    step([&] { node.FlushKv(); });
    step([&] { node.Install(10, dir_.Sub("table")); });
    step([&] { node.Append(5, 10); });
    step([&] { ASSERT_TRUE(node.engine()->FlushAll().ok()); });
    step([&] { node.Cut(0, node.term()); });
    step([&] { node.Install(0, dir_.Sub("table")); });
    step([&] { node.FlushKv(); });
  });
  if (HasFatalFailure()) return;
  EXPECT_GT(crashes_.size(), 100u);
  for (const Crash& crash : crashes_) {
    ExpectHolds(crash);
    if (HasFatalFailure()) return;
    std::vector<std::string> families;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, crash.path, &families).ok());
    EXPECT_EQ(families.size(), 4u) << crash.what;
  }
}

// The torn file of one crash must not be there, or not look like damage, at the next.
TEST_F(CrashTest, AgainAndAgainWithATornTailEachTime) {
  std::string path = dir_.Sub("live");
  ASSERT_TRUE(BootstrapNode(path).ok());
  size_t torn = 0;
  for (int round = 0; round < 12; ++round) {
    LogState before;
    const std::string next = NewPath();
    {
      Node node(path);
      const Status started = node.Start();
      ASSERT_TRUE(started.ok()) << "round " << round << ": " << started;
      // Every other round acknowledges nothing, so that the torn write is its file's first.
      if (round % 2 == 0) node.Append(2, 100 + 20'000 * static_cast<size_t>(round % 3));
      const auto log = node.Recovered();
      ASSERT_TRUE(log.ok()) << log.status();
      before = StateOf(node.engine(), *log);
      CopyDirectory(path, next);
      node.Append(1, 1'000);
      // Of this last one, only a part gets to the disk.
      const std::string written = NewestWritten(path);
      const std::string copy = next + "/" + fs::path(written).filename().string();
      const uint64_t old_size = fs::exists(copy) ? LogBytes(copy) : 0;
      const uint64_t size = LogBytes(written);
      ASSERT_GT(size, old_size);
      std::string bytes = ReadFileBytes(written);
      const uint64_t file_size = bytes.size();
      bytes.resize(old_size + 1 + rng_.Below(size - old_size - 1));
      // What had been written ahead is there, or not.
      if (round % 3 != 0) bytes.resize(file_size);
      WriteFileBytes(copy, bytes);
    }
    const auto scan = ScanWalFiles(next);
    ASSERT_TRUE(scan.ok()) << "round " << round << ": " << scan.status();
    if (scan->recovery == WalRecovery::kTornTail) ++torn;
    CopyDirectory(next, next + ".check");
    const auto state = StateAfterRestart(next + ".check");
    ASSERT_TRUE(state.ok()) << "round " << round << ": " << state.status();
    ASSERT_EQ(*state, before) << "round " << round;
    path = next;
  }
  EXPECT_EQ(torn, 12u);
}

// After opening a torn directory nothing of the torn file is left for a later scan to find.
TEST_F(CrashTest, OpeningGetsTheTornFileOutOfTheWay) {
  for (const auto& [whole_record_before, zeros_behind] :
       {std::pair(false, false), {false, true}, {true, false}, {true, true}}) {
    const std::string live = NewPath(), crashed = NewPath();
    ASSERT_TRUE(BootstrapNode(live).ok());
    {
      Node node(live);
      ASSERT_TRUE(node.Start().ok());
      if (whole_record_before) node.Append(1, 10);
      node.Append(1, 500);
      CopyDirectory(live, crashed);
    }
    const std::string wal = NewestWritten(crashed);
    const uint64_t file_size = fs::file_size(wal);
    fs::resize_file(wal, LogBytes(wal) - 3);
    if (zeros_behind) fs::resize_file(wal, file_size);
    ASSERT_EQ(ScanWalFiles(crashed)->recovery, WalRecovery::kTornTail);
    const auto engine = ScanAndOpen(crashed);
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_TRUE(!fs::exists(wal) || fs::file_size(wal) == 0);
    ASSERT_EQ(ScanWalFiles(crashed)->recovery, WalRecovery::kClean);
  }
}

}  // namespace
}  // namespace raftkv::wal
