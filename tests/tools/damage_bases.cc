#include "tools/damage_bases.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "common/check.h"
#include "store/engine_files.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"
#include "tools/dump_fixture.h"

namespace raftkv::tools::dump {
namespace {

namespace fs = std::filesystem;

// A node that is written to as a leader's log writer and apply thread do.
class Run {
 public:
  explicit Run(const std::string& path) : node_(std::make_unique<Node>(path)) {
    std::ofstream(path + "/member") << "n1\n";
  }

  // `count` commands of all kinds, in a batch: durable in the log, then applied.
  void Write(uint64_t count, bool apply = true) {
    std::vector<Entry> entries;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t index = ++last_;
      const std::string key = "key/" + std::to_string(index % 37);
      if (index == 1) {
        entries.push_back(Noop(index, kTerm));
      } else if (index == 2) {
        entries.push_back(Member(index, kTerm));
      } else if (index % 11 == 0) {
        entries.push_back(Delete(index, kTerm, key, ""));
      } else if (index % 13 == 0) {
        entries.push_back(Txn(index, kTerm));
      } else if (index % 7 == 0) {
        entries.push_back(Put(index, kTerm, key, "s", {"client/" + std::to_string(index), 1}));
      } else {
        entries.push_back(Put(index, kTerm, key, std::string(20 + index % 50, 'v')));
      }
    }
    Append(std::move(entries), apply);
  }
  void Write(const Entry& entry) { Append({entry}, /*apply=*/true); }
  uint64_t next() { return ++last_; }

  Node* operator->() { return node_.get(); }

  static constexpr uint64_t kTerm = 3;

 private:
  void Append(std::vector<Entry> entries, bool apply) {
    // The commit index on disk lags: it is what was known when the batch was written.
    node_->Append(entries, {Term(kTerm), NodeId(0xa1), Index(committed_)});
    committed_ = last_;
    if (apply) node_->Apply(entries);
  }

  std::unique_ptr<Node> node_;
  uint64_t last_ = 0;
  uint64_t committed_ = 0;
};

void Fresh(const std::string& path) { Run run(path); }

void Unflushed(const std::string& path) {
  Run run(path);
  run.Write(30);
  run->FlushKv();
  for (int i = 0; i < 6; ++i) run.Write(5);
}

void CleanStop(const std::string& path) {
  Run run(path);
  for (int i = 0; i < 4; ++i) run.Write(20);
  run->FlushAll();
}

void Levels(const std::string& path) {
  Run run(path);
  for (int i = 0; i < 3; ++i) {
    run.Write(60);
    run->FlushAll();
  }
  for (auto* family : {run->engine()->raft_log(), run->engine()->kv().get()}) {
    RAFTKV_CHECK(run->engine()->db()->CompactRange({}, family, nullptr, nullptr).ok(), "compact");
  }
  run.Write(40);
  run.Write(Config(run.next(), Run::kTerm));
  run.Write(Compact(run.next(), Run::kTerm, 100));
  while (run->CompactStep()) {
  }
  run->FlushAll();
  run.Write(20);
  run->FlushKv();
  run.Write(20);
}

void TornTail(const std::string& path) {
  Unflushed(path);
  std::string newest;
  for (const auto& file : fs::directory_iterator(path + "/db")) {
    if (file.path().extension() == ".log" && file.file_size() > 0) {
      newest = std::max(newest, file.path().string());
    }
  }
  fs::resize_file(newest, fs::file_size(newest) - 9);
}

void LogCut(const std::string& path) {
  Run run(path);
  for (int i = 0; i < 4; ++i) run.Write(20);
  run->FlushAll();
  raft::AppendTask cut;
  cut.cut = raft::LogStart{{Index(50), Term(Run::kTerm)}, {}};
  run->Append(cut);
  run->DeleteLeftovers();
  run.Write(10);
}

// From another node's state, as a follower that lagged gets it.
void SnapshotInstalled(const std::string& path) {
  const std::string other = path + ".other";
  const std::string tables_path = path + ".tables";
  raft::AppendTask task;
  {
    Run source(other);
    for (int i = 0; i < 4; ++i) source.Write(25);
    RAFTKV_CHECK(source->engine()->MakeCheckpoint(other + "/checkpoint").ok(), "checkpoint");
    store::EngineOptions options;
    options.path = other + "/checkpoint";
    auto snapshot =
        store::SnapshotSource::Open(store::Engine::OpenReadOnly(options).value(), {}, 7).value();
    fs::create_directory(tables_path);
    store::SnapshotSink sink(tables_path, 7);
    std::string chunk;
    while (snapshot->Next(&chunk).value()) RAFTKV_CHECK(sink.Add(chunk).ok(), "a chunk");
    Run run(path);
    run.Write(10);
    run->FlushAll();
    const uint64_t id = run->engine()->StageKv(sink.Finish().value()).value();
    task.install = raft::SnapshotMeta{sink.header().applied.position, sink.header().membership, id};
    task.hard_state = HardState{Term(Run::kTerm), NodeId(), Index(100)};
    run->Append(task);
    // Restarted, it uses the new state; what came since is in the log alone.
    run->Close();
    run->Open();
    run->Append({Put(101, Run::kTerm, "after", "the snapshot")},
                {Term(Run::kTerm), NodeId(), Index(101)});
  }
  RAFTKV_CHECK(store::RemoveTree(other).ok() && store::RemoveTree(tables_path).ok(), path);
}

}  // namespace

const std::vector<DamageBase>& DamageBases() {
  static const std::vector<DamageBase> bases = {{"Fresh", Fresh},
                                                {"Unflushed", Unflushed},
                                                {"CleanStop", CleanStop},
                                                {"Levels", Levels},
                                                {"TornTail", TornTail},
                                                {"LogCut", LogCut},
                                                {"SnapshotInstalled", SnapshotInstalled}};
  return bases;
}

}  // namespace raftkv::tools::dump
