// What the parts of a put cost, each by itself: the core without any I/O, entries as bytes, the log
// writer on this machine's disk beside a bare fdatasync, the applied state.
//
//   micro_bench [--benchmark_filter=...]   times, by Google Benchmark
//   micro_bench --count [NAME]             one pass of each, for bench/counts: prints operations
//   done
//                                          and allocations made (operator new)
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "common/rng.h"
#include "raft/core.h"
#include "raft/log_reader.h"
#include "server/peer_codec.h"
#include "store/store_harness.h"
#include "wal/entry_codec.h"
#include "wal/log_writer.h"
#include "wal/wal_testing.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// Not inlined: gcc would take a free of what new returned for a mistake.
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace raftkv {
namespace {

constexpr size_t kValueBytes = 256;
constexpr size_t kBatch = 64;  // what 64 clients put together

Payload SomePayload() { return std::make_shared<const std::string>(kValueBytes + 32, 'p'); }

// A workload: Step does so many operations.
class Work {
 public:
  virtual ~Work() = default;
  virtual uint64_t Step() = 0;
};

// A leader of three and the answers that it gets: a batch is proposed, sent, synced, answered by
// both followers, applied.
class CoreWork : public Work, public raft::LogReader {
 public:
  CoreWork() {
    raft::Options options;
    options.id = NodeId(1);
    options.defer_commit = true;
    raft::PersistentState state;
    state.membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
    state.first = Index(1);
    core_ = std::make_unique<raft::Core>(options, state, *this, Rng(1));
    core_->Campaign();
    for (const bool pre_vote : {true, false}) {
      CarryOut();
      core_->Step({NodeId(2), NodeId(1), core_->term() + (pre_vote ? 1 : 0),
                   raft::VoteResponse{.pre_vote = pre_vote, .granted = true}});
    }
    CarryOut();
    if (core_->role() != raft::Role::kLeader) std::abort();
    Acknowledge();
    payloads_.assign(kBatch, SomePayload());
  }

  uint64_t Step() override {
    if (!core_->Propose(payloads_).ok()) std::abort();
    CarryOut();
    Acknowledge();
    if (core_->commit() != core_->last_index()) std::abort();
    return kBatch;
  }

 private:
  Status Read(Index, Index, uint64_t, std::vector<Entry>*) const override { std::abort(); }

  void CarryOut() {
    while (core_->HasOutput()) {
      raft::Output output = core_->TakeOutput();
      benchmark::DoNotOptimize(output.send.data());
      if (output.append) core_->OnAppended(output.append->seq);
      if (output.apply) core_->OnApplied(output.apply->entries.back().index);
    }
  }
  void Acknowledge() {
    for (const uint64_t follower : {2, 3}) {
      core_->Step({NodeId(follower), NodeId(1), core_->term(),
                   raft::AppendResponse{.match = core_->last_index(), .run = 1}});
    }
    CarryOut();
  }

  std::unique_ptr<raft::Core> core_;
  std::vector<Payload> payloads_;
};

class EntryCodecWork : public Work {
 public:
  uint64_t Step() override {
    const std::string record = wal::EncodeEntry(entry_);
    if (!wal::DecodeEntry(entry_.index, record).ok()) std::abort();
    return 1;
  }

 private:
  const Entry entry_{Index(7), Term(3), EntryKind::kCommand, SomePayload()};
};

// An append of a batch, as a frame, as bytes, and back.
class PeerCodecWork : public Work {
 public:
  PeerCodecWork() {
    raft::AppendRequest request{{Index(100), Term(3)}, Index(90), {}, {Index(100), Term(3)}};
    for (uint64_t i = 0; i < kBatch; ++i) {
      request.entries.push_back({Index(101 + i), Term(3), EntryKind::kCommand, SomePayload()});
    }
    message_ = {NodeId(1), NodeId(2), Term(3), std::move(request)};
  }

  uint64_t Step() override {
    peer::v1::Frame sent;
    server::EncodeMessage(message_, &sent);
    const std::string bytes = sent.SerializeAsString();
    peer::v1::Frame received;
    if (!received.ParseFromString(bytes)) std::abort();
    if (!server::DecodeMessage(NodeId(1), NodeId(2), &received).ok()) std::abort();
    return kBatch;
  }

 private:
  raft::Message message_;
};

// The applied state with some keys, in tables and in the memtable.
class StoreWork : public Work {
 public:
  StoreWork() {
    while (index_ < kKeys) ApplyPuts(/*existing=*/false);
    if (!node_.engine().FlushKv().ok()) std::abort();
  }

 protected:
  static constexpr uint64_t kKeys = 2'000;

  static std::string Key(uint64_t n) {
    char key[24];
    std::snprintf(key, sizeof(key), "%016llu", static_cast<unsigned long long>(n));
    return key;
  }
  std::string KnownKey() { return Key(rng_.Below(kKeys)); }

  uint64_t ApplyPuts(bool existing) {
    std::vector<Entry> entries;
    for (size_t i = 0; i < kBatch; ++i) {
      const std::string key = existing ? KnownKey() : Key(index_);
      entries.push_back(
          store::MakeEntry(Index(++index_), store::CommandType::kPut, store::PutOf(key, value_)));
    }
    std::vector<store::ApplyResult> results;
    node_.store().Apply(entries, &results);
    return kBatch;
  }

  const std::string value_ = std::string(kValueBytes, 'v');
  Rng rng_{1};
  uint64_t index_ = 0;
  store::TestNode node_;
};

class PutNewWork : public StoreWork {
  uint64_t Step() override { return ApplyPuts(/*existing=*/false); }
};

class PutExistingWork : public StoreWork {
  uint64_t Step() override { return ApplyPuts(/*existing=*/true); }
};

// "If it is at this version, put": what a lock or a counter does.
class TxnWork : public StoreWork {
  uint64_t Step() override {
    const std::string key = KnownKey();
    etcdserverpb::TxnRequest txn;
    auto* compare = txn.add_compare();
    compare->set_key(key);
    compare->set_target(etcdserverpb::Compare::VERSION);
    compare->set_result(etcdserverpb::Compare::GREATER);
    compare->set_version(0);
    *txn.add_success()->mutable_request_put() = store::PutOf(key, value_);
    const Entry entry = store::MakeEntry(Index(++index_), store::CommandType::kTxn, txn);
    std::vector<store::ApplyResult> results;
    node_.store().Apply(std::span(&entry, 1), &results);
    return 1;
  }
};

class GetWork : public StoreWork {
  uint64_t Step() override {
    if (!node_.Get(KnownKey()).ok()) std::abort();
    return 1;
  }
};

// Of keys written since the start, so that where they are is remembered.
class GetInMemoryWork : public StoreWork {
  uint64_t Step() override {
    etcdserverpb::RangeRequest request;
    request.set_key(KnownKey());
    if (node_.store().GetInMemory(request)) return 1;
    if (!node_.store().Range(request).ok()) std::abort();  // its block is in the cache from now on
    return 1;
  }
};

class RangeWork : public StoreWork {
  uint64_t Step() override {
    const uint64_t from = rng_.Below(kKeys - 100);
    const auto found = node_.GetRange(Key(from), Key(from + 100));
    if (!found.ok() || found->kvs_size() != 100) std::abort();
    return 1;
  }
};

// A log with nothing in it.
class LogWork : public Work {
 public:
  LogWork() {
    if (!wal::BootstrapNode(dir_.Sub("db")).ok()) std::abort();
    auto engine = wal::ScanAndOpen(dir_.Sub("db"));
    if (!engine.ok()) std::abort();
    engine_ = *std::move(engine);
    log_ = std::make_unique<wal::LogStore>(engine_.get());
    if (!log_->Recover().ok()) std::abort();
    if (!log_->RestoreHardState({.term = Term(1)}).ok()) std::abort();
    store::StopCountingOnThisThread();  // as the log writer's thread does
  }

 protected:
  raft::AppendTask NextTask() {
    raft::AppendTask task;
    for (size_t i = 0; i < kBatch; ++i) {
      task.entries.push_back({Index(++last_), Term(1), EntryKind::kCommand, payload_});
    }
    task.last = {Index(last_), Term(1)};
    return task;
  }

 private:
  wal::TempDir dir_;
  const Payload payload_ = SomePayload();
  uint64_t last_ = 0;

 protected:
  std::unique_ptr<store::Engine> engine_;
  std::unique_ptr<wal::LogStore> log_;
};

// What the log writer's thread does with a batch, on this thread, without the sync.
class LogAppendWork : public LogWork {
 public:
  uint64_t Step() override {
    const raft::AppendTask task = NextTask();
    if (!log_->AddToBatch(task, &batch_).ok()) std::abort();
    if (!engine_->db()->Write(rocksdb::WriteOptions(), &batch_).ok()) std::abort();
    batch_.Clear();
    return kBatch;
  }

 private:
  rocksdb::WriteBatch batch_;
};

// The log writer with a batch always under way and the next waiting, as under load.
class LogWriterWork : public LogWork {
 public:
  LogWriterWork() {
    writer_ = std::make_unique<wal::LogWriter>(
        engine_.get(), log_.get(), /*fence=*/nullptr,
        [this](std::span<raft::AppendTask> tasks) {
          durable_.fetch_add(tasks.size());
          durable_.notify_all();
        },
        /*on_sync=*/nullptr);
  }

  uint64_t Step() override {
    raft::AppendTask task = NextTask();
    task.seq = ++submitted_;
    writer_->Submit(std::move(task));
    for (uint64_t done = durable_; done + 1 < submitted_; done = durable_) durable_.wait(done);
    return kBatch;
  }
  uint64_t syncs() const { return writer_->stats().syncs; }

 private:
  uint64_t submitted_ = 0;
  std::atomic<uint64_t> durable_{0};
  std::unique_ptr<wal::LogWriter> writer_;
};

// --- Times ------------------------------------------------------------------------------------

template <typename T>
void Time(benchmark::State& state) {
  T typed;
  Work& work = typed;
  uint64_t operations = 0;
  for (auto _ : state) operations += work.Step();
  state.SetItemsProcessed(static_cast<int64_t>(operations));
}
BENCHMARK(Time<CoreWork>)->Name("core: entries replicated by a leader of three");
BENCHMARK(Time<EntryCodecWork>)->Name("entry to bytes and back");
BENCHMARK(Time<PeerCodecWork>)->Name("entries of an append to bytes and back");
BENCHMARK(Time<PutNewWork>)->Name("apply: put a new key");
BENCHMARK(Time<PutExistingWork>)->Name("apply: put a key that exists");
BENCHMARK(Time<TxnWork>)->Name("apply: compare and put");
BENCHMARK(Time<GetWork>)->Name("get a key");
BENCHMARK(Time<GetInMemoryWork>)->Name("get a key from memory");
BENCHMARK(Time<RangeWork>)->Name("range of 100 keys");

void TimeLogWriter(benchmark::State& state) {
  LogWriterWork work;
  const uint64_t syncs = work.syncs();
  uint64_t entries = 0;
  for (auto _ : state) entries += work.Step();
  state.SetItemsProcessed(static_cast<int64_t>(entries));
  const double done = static_cast<double>(work.syncs() - syncs);
  state.counters["syncs"] = benchmark::Counter(done, benchmark::Counter::kIsRate);
}
BENCHMARK(TimeLogWriter)->Name("log writer: batches of 64 entries")->UseRealTime();

// The floor below the log writer: as many bytes appended to a file and synced.
void TimeBareSync(benchmark::State& state) {
  const wal::TempDir dir;
  const int file = open(dir.Sub("file").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) std::abort();
  const std::string bytes(kBatch * (kValueBytes + 64), 'b');
  for (auto _ : state) {
    if (write(file, bytes.data(), bytes.size()) < 0 || fdatasync(file) != 0) std::abort();
  }
  close(file);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatch));
}
BENCHMARK(TimeBareSync)->Name("bare fdatasync of as many bytes")->UseRealTime();

// --- Counts -----------------------------------------------------------------------------------

template <typename T>
std::unique_ptr<Work> Make() {
  return std::make_unique<T>();
}

const std::map<std::string, std::function<std::unique_ptr<Work>()>> kCounted = {
    {"core", Make<CoreWork>},
    {"entry_codec", Make<EntryCodecWork>},
    {"log_append", Make<LogAppendWork>},
    {"peer_codec", Make<PeerCodecWork>},
    {"put_new", Make<PutNewWork>},
    {"put_existing", Make<PutExistingWork>},
    {"txn", Make<TxnWork>},
    {"get", Make<GetWork>},
    {"get_in_memory", Make<GetInMemoryWork>},
    {"range_100", Make<RangeWork>},
};

}  // namespace

// callgrind collects inside this function alone (bench/counts).
extern "C" [[gnu::noinline]] void RaftkvCounted(Work* work, uint64_t operations, uint64_t* done) {
  while (*done < operations) *done += work->Step();
}

namespace {

int Count(const std::string& only) {
  for (const auto& [name, make] : kCounted) {
    if (!only.empty() && name != only) continue;
    const auto work = make();
    uint64_t done = 0;
    RaftkvCounted(work.get(), kBatch, &done);  // caches are warm, pools have grown
    done = 0;
    const uint64_t before = allocations;
    RaftkvCounted(work.get(), 10 * kBatch, &done);
    std::printf("%s operations=%llu allocations=%llu\n", name.c_str(),
                static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(allocations - before));
  }
  return 0;
}

}  // namespace
}  // namespace raftkv

int main(int argc, char** argv) {
  if (argc >= 2 && std::strcmp(argv[1], "--count") == 0) {
    return raftkv::Count(argc > 2 ? argv[2] : "");
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
