// raftkv-bench: closed-loop load on any etcd v3 endpoint, so that raftkv and etcd are measured by
// the same client. One thread drives all clients over completion queues: the load generator shares
// the machine with what it measures and must stay light.

#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/rng.h"
#include "rpc.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

struct BenchOptions {
  std::string endpoints = "127.0.0.1:2379";
  std::string operation = "put";
  int connections = 1;
  int clients = 1;
  double seconds = 5;
  double warmup_seconds = 1;
  int value_bytes = 256;
  uint64_t keys = 100'000;
  uint64_t seed = 1;
};

// What one run measured; latencies only of requests that began after the warm-up.
struct Result {
  std::vector<uint32_t> latencies_us;
  uint64_t failures = 0;
  std::string first_failure;
  double seconds = 0;
};

// Eight bytes, as in the figures of docs/benchmarks: hexadecimal, so that keys sort as numbers.
std::string KeyOf(uint64_t n) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string key(8, '0');
  for (size_t i = 8; i-- > 0; n >>= 4) key[i] = kDigits[n & 15];
  return key;
}

// One client: sends a request, waits for its answer, sends the next.
class Client {
 public:
  Client(const BenchOptions& options, etcdserverpb::KV::Stub* stub, grpc::CompletionQueue* queue,
         uint64_t seed)
      : options_(options), stub_(stub), queue_(queue), rng_(seed) {
    put_.set_value(std::string(static_cast<size_t>(options.value_bytes), 'v'));
    range_.set_serializable(options.operation == "get-serializable");
  }

  void Send() {
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    start_ = Clock::now();
    const std::string key = KeyOf(rng_.Below(options_.keys));
    if (options_.operation == "put") {
      put_.set_key(key);
      put_reader_ = stub_->AsyncPut(context_.get(), put_, queue_);
      put_reader_->Finish(&put_response_, &status_, this);
    } else {
      range_.set_key(key);
      range_reader_ = stub_->AsyncRange(context_.get(), range_, queue_);
      range_reader_->Finish(&range_response_, &status_, this);
    }
  }

  // Records the answer that came.
  void Received(Clock::time_point count_from, Result* result) const {
    const auto now = Clock::now();
    if (start_ < count_from) return;
    if (!status_.ok()) {
      if (result->failures++ == 0) result->first_failure = status_.error_message();
      return;
    }
    result->latencies_us.push_back(static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - start_).count()));
  }

 private:
  const BenchOptions& options_;
  etcdserverpb::KV::Stub* const stub_;
  grpc::CompletionQueue* const queue_;
  raftkv::Rng rng_;
  std::unique_ptr<grpc::ClientContext> context_;
  etcdserverpb::PutRequest put_;
  etcdserverpb::PutResponse put_response_;
  etcdserverpb::RangeRequest range_;
  etcdserverpb::RangeResponse range_response_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::PutResponse>> put_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>> range_reader_;
  grpc::Status status_;
  Clock::time_point start_;
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

Result Run(const BenchOptions& options) {
  const std::vector<std::string> endpoints = SplitCommas(options.endpoints);
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs;
  for (int i = 0; i < options.connections; ++i) {
    grpc::ChannelArguments args;
    // Or all channels to one address would share one connection.
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(etcdserverpb::KV::NewStub(
        grpc::CreateCustomChannel(endpoints[static_cast<size_t>(i) % endpoints.size()],
                                  grpc::InsecureChannelCredentials(), args)));
  }
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < options.clients; ++i) {
    clients.push_back(std::make_unique<Client>(options, stubs[i % stubs.size()].get(), &queue,
                                               options.seed * 1'000'003 + i));
  }
  Result result;
  const auto begin = Clock::now();
  const auto count_from = begin + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(options.warmup_seconds));
  const auto end = count_from + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(options.seconds));
  for (auto& client : clients) client->Send();
  size_t open = clients.size();
  void* tag = nullptr;
  bool ok = false;
  while (open > 0 && queue.Next(&tag, &ok)) {
    auto* client = static_cast<Client*>(tag);
    client->Received(count_from, &result);
    if (Clock::now() < end) {
      client->Send();
    } else {
      --open;
    }
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - count_from).count();
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return result;
}

uint32_t Percentile(const std::vector<uint32_t>& sorted, double p) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(p * sorted.size()))];
}

}  // namespace

int main(int argc, char** argv) {
  BenchOptions options;
  CLI::App app{"Closed-loop load on an etcd v3 endpoint", "raftkv-bench"};
  app.add_option("operation", options.operation, "put, get or get-serializable")
      ->check(CLI::IsMember({"put", "get", "get-serializable"}))
      ->required();
  app.add_option("--endpoints", options.endpoints, "host:port,... ; connections take turns");
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 10'000));
  app.add_option("--clients", options.clients, "Requests in flight")->check(CLI::Range(1, 100'000));
  app.add_option("--seconds", options.seconds, "Measured time, after the warm-up");
  app.add_option("--warmup", options.warmup_seconds, "Seconds before measuring");
  app.add_option("--value-bytes", options.value_bytes)->check(CLI::Range(0, 1 << 20));
  app.add_option("--keys", options.keys, "Size of the key space, drawn uniformly")
      ->check(CLI::Range(uint64_t{1}, uint64_t{0xffffffff}));
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);

  Result result = Run(options);
  std::sort(result.latencies_us.begin(), result.latencies_us.end());
  const auto& sorted = result.latencies_us;
  std::printf(
      "%s clients=%d connections=%d ops=%zu failures=%llu ops/s=%.0f p50_us=%u p99_us=%u "
      "max_us=%u\n",
      options.operation.c_str(), options.clients, options.connections, sorted.size(),
      static_cast<unsigned long long>(result.failures),
      static_cast<double>(sorted.size()) / result.seconds, Percentile(sorted, 0.5),
      Percentile(sorted, 0.99), sorted.empty() ? 0 : sorted.back());
  if (result.failures > 0) {
    std::fprintf(stderr, "raftkv-bench: %llu requests failed, the first with: %s\n",
                 static_cast<unsigned long long>(result.failures), result.first_failure.c_str());
    return 1;
  }
  return 0;
}
