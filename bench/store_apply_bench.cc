// How many puts a second the apply thread can take, and how many reads a reader: the store alone,
// no Raft, no network, on a real RocksDB in a temporary directory.
//
//   store_apply_bench [puts] [value bytes]
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/rng.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

// Elapsed time, and the processor time of this thread, which other load on the machine leaves
// alone.
class Stopwatch {
 public:
  double Wall() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - wall_).count();
  }
  double Cpu() const { return CpuNow() - cpu_; }

 private:
  static double CpuNow() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }

  std::chrono::steady_clock::time_point wall_ = std::chrono::steady_clock::now();
  double cpu_ = CpuNow();
};

std::string Key(uint64_t n) {
  char key[16];
  std::snprintf(key, sizeof(key), "%08llu", static_cast<unsigned long long>(n % 100'000'000));
  return key;
}

class Bench {
 public:
  Bench(uint64_t puts, size_t value_bytes) : puts_(puts), value_(value_bytes, 'v') {}

  void Run() {
    std::printf("%-40s %12s %12s %12s\n", "work", "per second", "us each", "cpu us each");
    for (const size_t batch : {1, 16, 64, 256, 1024}) {
      Puts("put new keys", batch, puts_ * 100, false);
    }
    for (const size_t batch : {1, 64, 1024}) Puts("put existing keys", batch, known_.size(), false);
    for (const size_t batch : {64, 1024}) Puts("put in sessions", batch, puts_ * 100, true);
    Reads();
    Compaction();
  }

 private:
  void Report(const std::string& what, uint64_t count, const Stopwatch& watch) {
    const double wall = watch.Wall();
    const double cpu = watch.Cpu();
    const auto n = static_cast<double>(count);
    std::printf("%-40s %12.0f %12.2f %12.2f\n", what.c_str(), n / wall, wall * 1e6 / n,
                cpu * 1e6 / n);
    std::fflush(stdout);
  }

  void Puts(const std::string& what, size_t batch, uint64_t keys, bool sessions) {
    // Made beforehand: encoding is not the apply thread's work.
    std::vector<Entry> entries;
    const bool existing = what.find("existing") != std::string::npos;
    const uint64_t count = batch == 1 ? puts_ / 4 : puts_;
    for (uint64_t i = 0; i < count; ++i) {
      const std::string key = existing ? known_[rng_.Below(known_.size())] : Key(rng_.Below(keys));
      if (!existing && known_.size() < 1'000'000) known_.push_back(key);
      SessionRef session;
      if (sessions) session = {"client" + std::to_string(i % 1'000), ++sequence_};
      if (sessions && sequence_ <= 1'000) session.sequence = 1;
      ++index_;
      entries.push_back(MakeEntry(Index(index_), CommandType::kPut, PutOf(key, value_), session,
                                  1'000'000 + index_ / 100));
    }
    std::vector<ApplyResult> results;
    const Stopwatch start;
    for (size_t from = 0; from < entries.size(); from += batch) {
      const size_t size = std::min(batch, entries.size() - from);
      node_.store().Apply(std::span(entries).subspan(from, size), &results);
    }
    Report(what + ", batches of " + std::to_string(batch), count, start);
  }

  void Reads() {
    for (const char* where : {"in memtable and tables", "all in tables"}) {
      const Stopwatch start;
      const uint64_t count = 200'000;
      for (uint64_t i = 0; i < count; ++i) {
        if (!node_.Get(known_[rng_.Below(known_.size())]).ok()) std::abort();
      }
      Report(std::string("get one key, ") + where, count, start);
      if (!node_.engine().FlushKv().ok()) std::abort();
    }
    etcdserverpb::RangeRequest request;
    request.set_key(std::string(1, '\0'));
    request.set_range_end(std::string(1, '\0'));
    request.set_count_only(true);
    const Stopwatch start;
    const auto response = node_.store().Range(request);
    Report("count keys of everything", static_cast<uint64_t>(response.value().count()), start);
    request.set_count_only(false);
    request.set_limit(100);
    request.set_range_end("00001000");
    request.set_key("00000000");
    const Stopwatch scan;
    uint64_t kvs = 0;
    for (int i = 0; i < 1'000; ++i)
      kvs += static_cast<uint64_t>(node_.store().Range(request)->kvs_size());
    Report("keys of small ranges", std::max<uint64_t>(kvs, 1), scan);
  }

  void Compaction() {
    etcdserverpb::CompactionRequest request;
    request.set_revision(node_.store().revision());
    const Entry entry = MakeEntry(Index(++index_), CommandType::kCompact, request);
    std::vector<ApplyResult> results;
    node_.store().Apply(std::span(&entry, 1), &results);
    const Stopwatch start;
    while (node_.store().CompactStep(1'000)) {
    }
    Report("compact revisions, steps of 1000", static_cast<uint64_t>(request.revision()), start);
  }

  static EngineOptions BigEngine(EngineOptions options) {
    options.block_cache_bytes = 256 << 20;
    options.kv_memtable_bytes = 64 << 20;
    options.log_memtable_bytes = 64 << 20;
    return options;
  }

  const uint64_t puts_;
  const std::string value_;
  Rng rng_{1};
  uint64_t index_ = 0;
  uint64_t sequence_ = 0;
  std::vector<std::string> known_;
  TestNode node_{BigEngine};
};

}  // namespace
}  // namespace raftkv::store

int main(int argc, char** argv) {
  const uint64_t puts = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200'000;
  const size_t value_bytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 256;
  raftkv::store::Bench(puts, value_bytes).Run();
}
