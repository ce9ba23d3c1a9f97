// How much disk the log takes under steady writes and cuts, and how long a start after a kill takes
// with what is there then. Not a test: prints figures.
//
//   log_space_bench DIRECTORY GIGABYTES WAL_MIB [cut every N entries]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "wal/log_store.h"
#include "wal/log_writer.h"
#include "wal/wal_scanner.h"
#include "wal/wal_testing.h"

namespace raftkv::wal {
namespace {

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t BytesOf(const std::string& path, const char* suffix) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    std::error_code gone;
    const uint64_t size = entry.file_size(gone);
    if (!gone && entry.path().string().ends_with(suffix)) bytes += size;
  }
  return bytes;
}

store::EngineOptions Options(const std::string& path, uint64_t wal_bytes) {
  store::EngineOptions options;
  options.path = path;
  options.wal_bytes_max = wal_bytes;
  return options;
}

void MeasureStart(const std::string& path, uint64_t wal_bytes) {
  const uint64_t wal = BytesOf(path, ".log");
  const auto start = Clock::now();
  const auto scan = ScanWalFiles(path);
  const double scanned = Since(start);
  store::EngineOptions options = Options(path, wal_bytes);
  options.wal_recovery = scan->recovery;
  const auto engine = store::Engine::Open(options);
  RAFTKV_CHECK(engine.ok(), engine.status().ToString());
  const double opened = Since(start);
  const auto log = LogStore(engine->get()).Recover();
  RAFTKV_CHECK(log.ok(), log.status().ToString());
  std::printf("start: %.0f MiB of WAL, scan %.2f s, open %.2f s, recover %.2f s (%zu entries)\n",
              static_cast<double>(wal) / (1 << 20), scanned, opened - scanned,
              Since(start) - opened,
              static_cast<size_t>(log->last.value() - log->before_first.index.value()));
}

void Run(const std::string& path, uint64_t total, uint64_t wal_bytes, uint64_t cut_every) {
  Membership membership;
  membership.voters = {NodeId(1)};
  const store::EngineOptions options = Options(path, wal_bytes);
  RAFTKV_CHECK(
      store::Engine::Bootstrap(options, TestIdentity(), LogStore::BootstrapRecords(membership))
          .ok(),
      "bootstrap");
  auto engine = store::Engine::Open(options);
  LogStore log(engine->get());
  RAFTKV_CHECK(log.Recover().ok(), "recover");
  LogWriter writer(
      engine->get(), &log, /*fence=*/nullptr, [](std::span<raft::AppendTask>) {}, nullptr);
  constexpr uint64_t kPerTask = 200, kTail = 5000;
  const std::string value(300, 'v');
  rocksdb::WriteOptions no_wal;
  no_wal.disableWAL = true;
  uint64_t index = 0, cut = 0, peak_wal = 0, peak_sst = 0;
  const uint64_t entries = total / value.size();
  while (index < entries) {
    raft::AppendTask task;
    task.hard_state = HardState{Term(1), NodeId(1), Index(index)};
    rocksdb::WriteBatch applied;
    for (uint64_t i = 0; i < kPerTask; ++i) {
      task.entries.push_back(MakeEntry(++index, 1, value));
      applied.Put((*engine)->kv().get(), "key" + std::to_string(index % 100'000), value);
    }
    if (index > cut + cut_every + kTail) {
      cut = index - kTail;
      task.cut = raft::LogStart{{Index(cut), Term(1)}, membership};
    }
    writer.Submit(std::move(task));
    (*engine)->db()->Write(no_wal, &applied);
    while (writer.queue_depth() > 4) std::this_thread::yield();
    if (index % 20'000 != 0) continue;
    const uint64_t wal = BytesOf(path, ".log");
    const uint64_t sst =
        (*engine)->IntProperty((*engine)->raft_log(), "rocksdb.live-sst-files-size");
    peak_wal = std::max(peak_wal, wal);
    peak_sst = std::max(peak_sst, sst);
    if (index % (entries / 8 / 20'000 * 20'000) == 0) {
      std::printf("written %5.0f MiB: WAL %4.0f MiB, tables of the log %4.0f MiB\n",
                  static_cast<double>(index * value.size()) / (1 << 20),
                  static_cast<double>(wal) / (1 << 20), static_cast<double>(sst) / (1 << 20));
    }
  }
  std::printf("peak: WAL %.0f MiB, tables of the log %.0f MiB\n",
              static_cast<double>(peak_wal) / (1 << 20), static_cast<double>(peak_sst) / (1 << 20));
  std::vector<Entry> read;
  const auto start = Clock::now();
  for (int i = 0; i < 100; ++i) {
    read.clear();
    RAFTKV_CHECK(log.Read(Index(cut + 1), Index(cut + 100), UINT64_MAX, &read).ok(), "read");
  }
  std::printf("reading 100 entries behind the cut: %.0f us\n", Since(start) * 1e4);
  CopyDirectory(path, path + ".killed");
}

}  // namespace
}  // namespace raftkv::wal

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string path = argv[1];
  const uint64_t wal_bytes = std::strtoull(argv[3], nullptr, 10) << 20;
  std::filesystem::remove_all(path);
  std::filesystem::remove_all(path + ".killed");
  raftkv::wal::Run(path, static_cast<uint64_t>(std::strtod(argv[2], nullptr) * (1 << 30)),
                   wal_bytes, argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 100'000);
  raftkv::wal::MeasureStart(path + ".killed", wal_bytes);
  std::filesystem::remove_all(path);
  std::filesystem::remove_all(path + ".killed");
}
