// raftkv-bench: closed-loop load on any etcd v3 endpoint, so that raftkv and etcd are measured by
// the same client. One thread drives all clients over completion queues: the load generator shares
// the machine with what it measures and must stay light.

#include <grpcpp/grpcpp.h>

#include <absl/synchronization/mutex.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "common/rng.h"
#include "rpc.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

// A load gives up after so many failed requests, each of which it sends again.
constexpr uint64_t kLoadFailuresMax = 1000;

struct BenchOptions {
  std::string endpoints = "127.0.0.1:2379";
  std::string operation = "put";
  int connections = 1;
  int clients = 1;
  double seconds = 5;
  double warmup_seconds = 1;
  double interval_seconds = 0;
  uint64_t operations = 0;
  int batch = 100;
  int value_bytes = 256;
  bool random_values = false;
  uint64_t keys = 100'000;
  uint64_t seed = 1;

  bool loads() const { return operation == "load"; }
};

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

uint32_t Microseconds(Clock::duration duration) {
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

// What one stretch of time showed.
class Result {
 public:
  // `last_answer`: a wait that began before counts in full.
  void Begin(Clock::time_point now, Clock::time_point last_answer) {
    *this = Result();
    begin_ = now;
    last_answer_ = last_answer;
  }
  Clock::time_point last_answer() const { return last_answer_; }

  void Answered(Clock::time_point sent, Clock::time_point now) {
    latencies_us_.push_back(Microseconds(now - sent));
    gap_us_ = std::max(gap_us_, Microseconds(now - last_answer_));
    last_answer_ = now;
  }
  void Failed(const std::string& message) {
    if (failures_++ == 0) first_failure_ = message;
  }

  uint64_t failures() const { return failures_; }
  const std::string& first_failure() const { return first_failure_; }

  // gap_us: the longest time in which no request was answered.
  void Print(Clock::time_point now) {
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    // The time since the last answer counts too: nothing at all may have been answered.
    gap_us_ = std::max(gap_us_, Microseconds(now - last_answer_));
    std::sort(latencies_us_.begin(), latencies_us_.end());
    std::printf("ops=%zu failures=%" PRIu64
                " seconds=%.2f ops/s=%.0f p50_us=%u p99_us=%u "
                "max_us=%u gap_us=%u\n",
                latencies_us_.size(), failures_, seconds,
                static_cast<double>(latencies_us_.size()) / seconds, Percentile(0.5),
                Percentile(0.99), Percentile(1), gap_us_);
    std::fflush(stdout);
  }

 private:
  // Of sorted latencies.
  uint32_t Percentile(double p) const {
    const auto& all = latencies_us_;
    if (all.empty()) return 0;
    return all[std::min(all.size() - 1, static_cast<size_t>(p * static_cast<double>(all.size())))];
  }

  Clock::time_point begin_;
  Clock::time_point last_answer_;
  std::vector<uint32_t> latencies_us_;
  uint32_t gap_us_ = 0;
  uint64_t failures_ = 0;
  std::string first_failure_;
};

// Eight bytes, as in the figures of docs/benchmarks: hexadecimal, so that keys sort as numbers.
std::string KeyOf(uint64_t n) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string key(8, '0');
  for (size_t i = 8; i-- > 0; n >>= 4) key[i] = kDigits[n & 15];
  return key;
}

// Each key once, scattered over the whole range: as keys come in real life, and harder on the
// store than keys in order, whose tables never overlap.
class LoadOrder {
 public:
  explicit LoadOrder(uint64_t keys) : keys_(keys), stride_(keys * 618 / 1000 + 1) {
    while (std::gcd(stride_, keys_) != 1) ++stride_;
  }
  bool done() const { return taken_ == keys_; }
  uint64_t Take() { return taken_++ * stride_ % keys_; }

 private:
  const uint64_t keys_;
  uint64_t stride_;
  uint64_t taken_ = 0;
};

// One client: sends a request, waits for its answer, sends the next.
class Client {
 public:
  Client(const BenchOptions& options, etcdserverpb::KV::Stub* stub, grpc::CompletionQueue* queue,
         LoadOrder* load, uint64_t seed)
      : options_(options), stub_(stub), queue_(queue), load_(load), rng_(seed) {
    put_.set_value(std::string(static_cast<size_t>(options.value_bytes), 'v'));
    range_.set_serializable(options.operation == "get-serializable");
  }

  void SendNext() {
    if (options_.loads()) {
      txn_.clear_success();
      for (int i = 0; i < options_.batch && !load_->done(); ++i) {
        MakePut(load_->Take(), txn_.add_success()->mutable_request_put());
      }
    } else if (options_.operation == "put") {
      MakePut(rng_.Below(options_.keys), &put_);
    } else {
      range_.set_key(KeyOf(rng_.Below(options_.keys)));
    }
    SendAgain();
  }

  void SendAgain() {
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    context_->set_wait_for_ready(options_.loads());
    sent_ = Clock::now();
    if (options_.loads()) {
      txn_reader_ = stub_->AsyncTxn(context_.get(), txn_, queue_);
      txn_reader_->Finish(&txn_response_, &status_, this);
    } else if (options_.operation == "put") {
      put_reader_ = stub_->AsyncPut(context_.get(), put_, queue_);
      put_reader_->Finish(&put_response_, &status_, this);
    } else {
      range_reader_ = stub_->AsyncRange(context_.get(), range_, queue_);
      range_reader_->Finish(&range_response_, &status_, this);
    }
  }

  // The answer that came.
  const grpc::Status& status() const { return status_; }
  Clock::time_point sent() const { return sent_; }

 private:
  void MakePut(uint64_t n, etcdserverpb::PutRequest* put) {
    put->set_key(KeyOf(n));
    if (!options_.random_values) {
      put->set_value(put_.value());
      return;
    }
    std::string* value = put->mutable_value();
    value->resize(static_cast<size_t>(options_.value_bytes));
    for (size_t at = 0; at < value->size(); at += sizeof(uint64_t)) {
      const uint64_t random = rng_.Next();
      std::memcpy(value->data() + at, &random, std::min(sizeof(random), value->size() - at));
    }
  }

  const BenchOptions& options_;
  etcdserverpb::KV::Stub* const stub_;
  grpc::CompletionQueue* const queue_;
  LoadOrder* const load_;
  raftkv::Rng rng_;
  std::unique_ptr<grpc::ClientContext> context_;
  etcdserverpb::PutRequest put_;
  etcdserverpb::PutResponse put_response_;
  etcdserverpb::RangeRequest range_;
  etcdserverpb::RangeResponse range_response_;
  etcdserverpb::TxnRequest txn_;
  etcdserverpb::TxnResponse txn_response_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::PutResponse>> put_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>> range_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::TxnResponse>> txn_reader_;
  grpc::Status status_;
  Clock::time_point sent_;
};

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    if (comma > start) parts.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

// One run: the clients, and what they were answered.
class Bench {
 public:
  explicit Bench(const BenchOptions& options) : options_(options), load_(options.keys) {
    const std::vector<std::string> endpoints = SplitCommas(options.endpoints);
    for (int i = 0; i < options.connections; ++i) {
      grpc::ChannelArguments args;
      // Or all channels to one address would share one connection.
      args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      // What a load generator has no use for, and each call would pay for.
      args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
      args.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
      args.SetInt(GRPC_ARG_MINIMAL_STACK, 1);
      stubs_.push_back(etcdserverpb::KV::NewStub(
          grpc::CreateCustomChannel(endpoints[static_cast<size_t>(i) % endpoints.size()],
                                    grpc::InsecureChannelCredentials(), args)));
    }
    for (int i = 0; i < options.clients; ++i) {
      clients_.push_back(std::make_unique<Client>(options, stubs_[i % stubs_.size()].get(), &queue_,
                                                  &load_, options.seed * 1'000'003 + i));
    }
  }
  ~Bench() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Run() {
    const auto begin = Clock::now();
    // A load counts from the start: what it is to tell is how long the whole takes.
    count_from_ = options_.loads() ? begin : begin + Seconds(options_.warmup_seconds);
    end_ = count_from_ + Seconds(options_.seconds);
    interval_end_ = Clock::time_point::max();
    if (options_.interval_seconds > 0) {
      interval_end_ = count_from_ + Seconds(options_.interval_seconds);
    }
    total_.Begin(count_from_, count_from_);
    interval_.Begin(count_from_, count_from_);
    for (auto& client : clients_) Go(client.get());
    while (open_ > 0) {
      void* tag = nullptr;
      bool ok = false;
      const auto next = Next(&tag, &ok);
      const auto now = Clock::now();
      if (now >= interval_end_) {
        interval_.Print(now);
        interval_.Begin(now, interval_.last_answer());
        interval_end_ = now + Seconds(options_.interval_seconds);
      }
      if (next != grpc::CompletionQueue::GOT_EVENT) continue;
      --open_;
      Take(static_cast<Client*>(tag), now);
    }
    std::printf("%s clients=%d connections=%d ", options_.operation.c_str(), options_.clients,
                options_.connections);
    if (options_.loads()) {
      std::printf("keys=%" PRIu64 " puts_per_request=%d value_bytes=%d ", options_.keys,
                  options_.batch, options_.value_bytes);
    }
    total_.Print(Clock::now());
  }

  // Whether everything was answered well, or at least (of a load) at last.
  bool Report() const {
    if (total_.failures() == 0) return true;
    std::fprintf(stderr, "raftkv-bench: %" PRIu64 " requests failed, the first with: %s\n",
                 total_.failures(), total_.first_failure().c_str());
    return options_.loads() && total_.failures() < kLoadFailuresMax;
  }

 private:
  grpc::CompletionQueue::NextStatus Next(void** tag, bool* ok) {
    if (options_.interval_seconds == 0) {
      return queue_.Next(tag, ok) ? grpc::CompletionQueue::GOT_EVENT
                                  : grpc::CompletionQueue::SHUTDOWN;
    }
    const auto wait = std::chrono::duration_cast<std::chrono::microseconds>(
        std::max(interval_end_ - Clock::now(), Clock::duration::zero()));
    return queue_.AsyncNext(tag, ok, std::chrono::system_clock::now() + wait);
  }

  bool Finished(Clock::time_point now) const {
    if (options_.loads()) return load_.done() || total_.failures() >= kLoadFailuresMax;
    return options_.operations > 0 ? sent_ == options_.operations : now >= end_;
  }

  void Go(Client* client) {
    if (Finished(Clock::now())) return;
    ++sent_;
    ++open_;
    client->SendNext();
  }

  void Take(Client* client, Clock::time_point now) {
    const grpc::Status& status = client->status();
    if (client->sent() >= count_from_) {
      for (Result* result : {&total_, &interval_}) {
        if (status.ok()) {
          result->Answered(client->sent(), now);
        } else {
          result->Failed(status.error_message());
        }
      }
    }
    if (options_.loads() && !status.ok() && total_.failures() < kLoadFailuresMax) {
      ++open_;
      client->SendAgain();
      return;
    }
    Go(client);
  }

  const BenchOptions options_;
  LoadOrder load_;
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Client>> clients_;
  Clock::time_point count_from_;
  Clock::time_point end_;
  Clock::time_point interval_end_;
  uint64_t sent_ = 0;
  size_t open_ = 0;  // requests that wait for their answer
  Result total_;
  Result interval_;
};

}  // namespace

int main(int argc, char** argv) {
  // As in raftkvd (src/server/main.cc).
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  BenchOptions options;
  CLI::App app{"Closed-loop load on an etcd v3 endpoint", "raftkv-bench"};
  app.add_option("operation", options.operation,
                 "put, get, get-serializable; or load: every key once, many to a transaction")
      ->check(CLI::IsMember({"put", "get", "get-serializable", "load"}))
      ->required();
  app.add_option("--endpoints", options.endpoints, "host:port,... ; connections take turns");
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 10'000));
  app.add_option("--clients", options.clients, "Requests in flight")->check(CLI::Range(1, 100'000));
  app.add_option("--seconds", options.seconds, "Measured time, after the warm-up");
  app.add_option("--operations", options.operations,
                 "Requests to send, with no bound in time; 0: as many as --seconds allows");
  app.add_option("--warmup", options.warmup_seconds, "Seconds before measuring");
  app.add_option("--interval", options.interval_seconds,
                 "Also print a line each so many seconds; 0: only at the end");
  app.add_option("--batch", options.batch, "Keys a request of a load puts (etcd takes 128)")
      ->check(CLI::Range(1, 10'000));
  app.add_option("--value-bytes", options.value_bytes)->check(CLI::Range(0, 1 << 20));
  app.add_flag("--random-values", options.random_values,
               "Values that do not compress (without: one letter, repeated)");
  app.add_option("--keys", options.keys, "Size of the key space, drawn uniformly; what a load puts")
      ->check(CLI::Range(uint64_t{1}, uint64_t{0xffffffff}));
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);

  Bench bench(options);
  bench.Run();
  return bench.Report() ? 0 : 1;
}
