// More than 500 damaged directories, from seeds: raftkv-dump never crashes, hangs or changes
// anything, and verify --deep never calls one whole that it could have known not to be.
//
// What it could have known is decided without it (damage_oracle.h). Damage did no harm where plain
// RocksDB reads the same log, hard state and applied state as before. Where it reads something
// else, two excuses are taken. The damage is at the end of the newest WAL file, with no intact
// record behind it, so that it looks as a crash does: what is left is then exactly what was there
// up to the damaged record, it holds every entry that hard state or applied state know to be
// committed, and verify has noted the cut-off write unless the file ends between two records. Or
// the log is as it was, and the applied state is an older one from which the log makes the same
// again: that is what the log is for. And a node must start on whatever verify calls whole.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/rng.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "tools/damage_bases.h"
#include "tools/damage_oracle.h"
#include "tools/dump/child.h"
#include "tools/dump_fixture.h"
#include "wal/log_store.h"
#include "wal/manifest_check.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr uint64_t kSeedsOfAShape = 77;
constexpr char kSeedVariable[] = "RAFTKV_DAMAGE_SEED";

constexpr const char* kFileKinds[] = {".sst",    ".log",     "MANIFEST", "CURRENT",
                                      "OPTIONS", "IDENTITY", "member"};
constexpr const char* kListings[] = {"meta", "log", "keys", "summary", "members", "wal", "files"};
enum class Operation { kFlip, kCut, kZero, kDelete, kAppend };
constexpr const char* kOperationNames[] = {"flip", "cut", "zero", "delete", "append again"};

struct Damage {
  std::string file;  // relative to the data directory
  Operation operation = Operation::kFlip;
  uint64_t from = 0;  // the first byte that changed...
  uint64_t to = 0;    // ...and the first behind the last

  std::string ToString() const {
    return std::string(kOperationNames[static_cast<int>(operation)]) + " " + file + " " +
           std::to_string(from) + ".." + std::to_string(to);
  }
};

// Files of the kind that hold anything; WAL files in order of age.
std::vector<std::string> FilesOf(const std::string& directory, const std::string& kind) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (!entry.is_regular_file() || entry.file_size() == 0) continue;
    if (!name.starts_with(kind) && !name.ends_with(kind)) continue;
    files.push_back(fs::relative(entry.path(), directory));
  }
  std::sort(files.begin(), files.end());
  return files;
}

Damage MakeDamage(const std::string& directory, const std::string& kind, Rng* rng) {
  const std::vector<std::string> files = FilesOf(directory, kind);
  if (files.empty()) return MakeDamage(directory, "MANIFEST", rng);
  Damage damage{files[rng->Below(files.size())], static_cast<Operation>(rng->Below(5))};
  const std::string path = directory + "/" + damage.file;
  std::string bytes = ReadFile(path);
  const uint64_t size = bytes.size();
  damage.from = rng->Below(size);
  damage.to = size;
  fs::remove(path);  // it may be a hard link: never written in place
  switch (damage.operation) {
    case Operation::kFlip:
      damage.to = std::min(size, damage.from + rng->Between(1, 3));
      for (uint64_t i = damage.from; i < damage.to; ++i) {
        bytes[i] = static_cast<char>(bytes[i] ^ (1 << rng->Below(8)));
      }
      break;
    case Operation::kCut:
      bytes.resize(damage.from);
      break;
    case Operation::kZero:
      damage.to = std::min(size, damage.from + rng->Between(1, 600));
      std::fill(bytes.begin() + static_cast<int64_t>(damage.from),
                bytes.begin() + static_cast<int64_t>(damage.to), '\0');
      break;
    case Operation::kDelete:
      damage.from = 0;
      return damage;
    case Operation::kAppend:
      bytes += bytes.substr(damage.from);
      damage.from = size;
      damage.to = bytes.size();
      break;
  }
  std::ofstream(path, std::ios::binary) << bytes;
  return damage;
}

// Tables are hard-linked.
void CopyBase(const std::string& from, const std::string& to) {
  fs::create_directories(to + "/db");
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    const fs::path target = fs::path(to) / fs::relative(entry.path(), from);
    if (entry.path().extension() == ".sst") {
      fs::create_hard_link(entry.path(), target);
    } else {
      fs::copy_file(entry.path(), target);
    }
  }
}

// As App does it.
StatusOr<std::string> Start(const std::string& directory) {
  store::EngineOptions options;
  options.path = directory + "/db";
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(options.path));
  RAFTKV_ASSIGN_OR_RETURN(const wal::WalScan scan, wal::ScanWalFiles(options.path));
  options.wal_recovery = scan.recovery;
  RAFTKV_ASSIGN_OR_RETURN(const auto engine, store::Engine::Open(options));
  wal::LogStore log(engine.get());
  RAFTKV_ASSIGN_OR_RETURN(const wal::RecoveredLog recovered, log.Recover());
  RAFTKV_ASSIGN_OR_RETURN(const auto state, store::KvStore::Open(engine.get()));
  RAFTKV_RETURN_IF_ERROR(log.CheckApplied(state->applied().position, recovered));
  return std::string();
}

class DumpSweepTest : public testing::TestWithParam<size_t> {
 protected:
  // Nothing of RocksDB runs in this process: what is forked off has all of its threads.
  void SetUp() override {
    const auto made = CallInChild([this]() -> StatusOr<std::string> {
      DamageBases()[GetParam()].make(base_);
      return std::string();
    });
    ASSERT_TRUE(made.ok()) << made.status();
    const auto contents = ReadLogicalContents(base_ + "/db");
    ASSERT_TRUE(contents.ok()) << contents.status();
    contents_ = *contents;
    ASSERT_TRUE(contents_.Covers());
    const auto wals = FilesOf(base_, ".log");
    // A new node and one that was stopped cleanly need none.
    ASSERT_FALSE(wals.empty() && GetParam() != 0 && GetParam() != 2);
    if (!wals.empty()) {
      newest_wal_ = wals.back();
      boundaries_ = RecordBoundaries(base_ + "/" + newest_wal_);
    }
  }

  ProgramResult Dump(std::vector<std::string> arguments, const std::string& directory) {
    arguments.insert(arguments.begin() + 1, directory);
    arguments.insert(arguments.begin(), {"60", RAFTKV_DUMP});
    return RunProgram("timeout", arguments, temp_.path());
  }

  // The keys once all of the log is applied.
  std::string Replayed(const std::string& directory) {
    const ProgramResult keys =
        Dump({"keys", "--replay", "--through", "last", "-o", "jsonl"}, directory);
    EXPECT_EQ(keys.exit_code, kExitFine) << keys.out << keys.err;
    return keys.out.substr(keys.out.find('\n'));  // without how many entries were replayed
  }

  // What is there when the newest WAL file ends before the record that has byte `offset`.
  StatusOr<LogicalContents> ContentsUpTo(uint64_t offset, uint64_t* boundary) {
    *boundary = 0;
    for (const uint64_t b : boundaries_) {
      if (b <= offset) *boundary = b;
    }
    const std::string cut = temp_.path() + "/cut";
    CopyBase(base_, cut);
    fs::resize_file(cut + "/" + newest_wal_, *boundary);
    const auto contents = ReadLogicalContents(cut + "/db");
    fs::remove_all(cut);
    return contents;
  }

  // Whether nothing intact is left behind the damage, so that it looks as a crash does.
  bool LooksTorn(const Damage& damage) const {
    if (damage.file != newest_wal_ || boundaries_.size() < 2) return false;
    const uint64_t last_record = boundaries_[boundaries_.size() - 2];
    return damage.operation == Operation::kCut ||
           (damage.operation == Operation::kFlip && damage.from >= last_record) ||
           (damage.operation == Operation::kZero && damage.to > last_record);
  }

  void CheckCalledWhole(const Damage& damage, const std::string& directory,
                        const std::string& said) {
    const auto now = ReadLogicalContents(directory + "/db");
    ASSERT_TRUE(now.ok()) << "verify calls it whole; plain RocksDB says: " << now.status();
    if (now->log == contents_.log) {
      if (now->state != contents_.state) {
        EXPECT_EQ(Replayed(directory), Replayed(base_));
      }
    } else {
      ASSERT_TRUE(LooksTorn(damage)) << "before " << contents_.log << "\nnow    " << now->log;
      uint64_t boundary = 0;
      const auto expected = ContentsUpTo(damage.from, &boundary);
      ASSERT_TRUE(expected.ok()) << expected.status();
      EXPECT_EQ(now->log, expected->log);
      EXPECT_EQ(now->state, contents_.state);
      EXPECT_TRUE(now->Covers()) << "ends at " << now->last << ", applied " << now->applied
                                 << ", committed " << now->commit;
      if (fs::file_size(directory + "/" + damage.file) > boundary) {
        EXPECT_THAT(said, HasSubstr("the last write was cut off"));
      }
    }
    const auto started = CallInChild([&] { return Start(directory); });
    EXPECT_TRUE(started.ok()) << "verify calls it whole; a start says: " << started.status();
  }

  void CheckSeed(uint64_t seed) {
    Rng rng(seed);
    const std::string directory = temp_.path() + "/n1";
    CopyBase(base_, directory);
    const std::string kind = kFileKinds[seed % std::size(kFileKinds)];
    const Damage damage = MakeDamage(directory, kind, &rng);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + damage.ToString() +
                 "\nreplay: " + kSeedVariable + "=" + std::to_string(seed) +
                 " build/release/tests/tools/tools_dump_sweep_test --gtest_filter='*/" +
                 DamageBases()[GetParam()].name + "'");
    const auto before = Snapshot(directory);
    const ProgramResult verify = Dump({"verify", "--deep"}, directory);
    EXPECT_LE(verify.exit_code, kExitCouldNotRun) << verify.out << verify.err;
    // Those that list take turns; every one of them meets every kind of file.
    const char* const command = kListings[seed / std::size(kFileKinds) % std::size(kListings)];
    const ProgramResult listing = Dump({command}, directory);
    EXPECT_LE(listing.exit_code, kExitCouldNotRun) << command << "\n" << listing.out << listing.err;
    EXPECT_EQ(Snapshot(directory), before);
    ++verdicts_[verify.exit_code];
    if (verify.exit_code == kExitFine) CheckCalledWhole(damage, directory, verify.out);
    fs::remove_all(directory);
  }

  const TempDir temp_;
  const std::string base_ = temp_.path() + "/base";
  LogicalContents contents_;
  std::string newest_wal_;
  std::vector<uint64_t> boundaries_;
  std::map<int, int> verdicts_;
};

TEST_P(DumpSweepTest, DamageIsFoundOrDidNoHarm) {
  const ProgramResult whole = Dump({"verify", "--deep"}, base_);
  ASSERT_EQ(whole.exit_code, kExitFine) << whole.out << whole.err;
  if (const char* seed = std::getenv(kSeedVariable)) {
    CheckSeed(std::strtoull(seed, nullptr, 10));
    return;
  }
  for (uint64_t seed = 0; seed < kSeedsOfAShape; ++seed) {
    CheckSeed(GetParam() * 1000 + seed);
    if (HasFailure()) break;  // the first says how to replay it
  }
  RecordProperty("whole", verdicts_[kExitFine]);
  RecordProperty("problems", verdicts_[kExitProblems]);
  // Most damage must be found, or the test shows nothing.
  EXPECT_GT(verdicts_[kExitProblems], static_cast<int>(kSeedsOfAShape / 5));
}

INSTANTIATE_TEST_SUITE_P(Shapes, DumpSweepTest, testing::Range(size_t{0}, DamageBases().size()),
                         [](const auto& shape) { return DamageBases()[shape.param].name; });

}  // namespace
}  // namespace raftkv::tools::dump
