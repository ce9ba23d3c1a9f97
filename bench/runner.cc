#include "bench/runner.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>

namespace raftkv::bench {
namespace {

// A load gives up after so many failed requests, each of which it sends again.
constexpr uint64_t kLoadFailuresMax = 1000;

constexpr auto kConnectWaitMax = std::chrono::seconds(3);

// An open loop's thread sleeps no longer than this between two looks at its queue, shortly before a
// request is due: gRPC itself waits in whole milliseconds, rounded up, and a request that starts a
// millisecond late would look slow.
constexpr auto kFineSleep = std::chrono::microseconds(100);
constexpr auto kFineSleepFrom = std::chrono::milliseconds(2);

gpr_timespec ToGrpcTime(Clock::duration wait) {
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count();
  if (nanoseconds <= 0) return gpr_time_0(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(nanoseconds, GPR_TIMESPAN));
}

const char* NameOf(grpc::StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "OTHER";
}

void Emit(const std::string& lines) {
  std::fputs(lines.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace

Runner::Runner(const BenchOptions& options)
    : options_(options), output_(options_), sources_(options_), cpu_(options.cpu_of) {
  MakeStubs();
  if (!options_.open_loop()) {
    for (int i = 0; i < options_.clients; ++i) AddClient();
  }
}

Runner::~Runner() {
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

void Runner::MakeStubs() {
  const std::vector<std::string> endpoints = SplitCommas(options_.endpoints);
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < options_.connections; ++i) {
    grpc::ChannelArguments args;
    // Or all channels to one address would share one connection.
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    // What a load generator has no use for, and each call would pay for.
    args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    args.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
    args.SetInt(GRPC_ARG_MINIMAL_STACK, 1);
    channels.push_back(
        grpc::CreateCustomChannel(endpoints[static_cast<size_t>(i) % endpoints.size()],
                                  grpc::InsecureChannelCredentials(), args));
    channels.back()->GetState(/*try_to_connect=*/true);
    stubs_.push_back(etcdserverpb::KV::NewStub(channels.back()));
  }
  // All connect before time runs: the backlog of an open loop that gathers while a hundred
  // connections are made would be with it for seconds. Who can't connect is seen by requests.
  const auto deadline = std::chrono::system_clock::now() + kConnectWaitMax;
  for (const auto& channel : channels) channel->WaitForConnected(deadline);
}

Client* Runner::AddClient() {
  etcdserverpb::KV::Stub* stub = stubs_[clients_.size() % stubs_.size()].get();
  return clients_.emplace_back(std::make_unique<Client>(options_, &sources_, stub, &queue_)).get();
}

void Runner::Begin() {
  const auto begin = Clock::now();
  // A load counts from the start: what it is to tell is how long the whole takes.
  count_from_ = options_.loads() ? begin : begin + Seconds(options_.warmup_seconds);
  end_ = count_from_ + Seconds(options_.seconds);
  interval_end_ = Clock::time_point::max();
  if (options_.interval_seconds > 0) {
    interval_end_ = count_from_ + Seconds(options_.interval_seconds);
  }
  last_sent_ = begin;
  total_.Begin(count_from_, count_from_);
  interval_.Begin(count_from_, count_from_);
  NoteTime(begin);
  if (!options_.open_loop()) return;
  schedule_.emplace(options_.rate, options_.spacing, options_.seed * 1'000'003 + 3, begin);
  // Sleeps are to end when they should; by default Linux adds 50 us to save wake-ups.
  prctl(PR_SET_TIMERSLACK, 1000);
}

void Runner::Run() {
  Emit(output_.Header());
  Begin();
  if (!options_.open_loop()) {
    for (auto& client : clients_) {
      if (!Finished(Clock::now())) Send(client.get(), Clock::now());
    }
  }
  Loop();
  const auto now = Clock::now();
  // There may have been no event since the warm-up.
  NoteTime(std::max(now, count_from_));
  cpu_.End();
  total_.End(now);
  const Totals totals{&cpu_, std::chrono::duration<double>(now - last_sent_).count()};
  Emit(output_.Line(total_, &totals));
}

bool Runner::Report() const {
  if (total_.failures() == 0) return true;
  std::string codes;
  for (const auto& [code, count] : total_.failures_by_code()) {
    codes += " " + code + "=" + std::to_string(count);
  }
  std::fprintf(stderr, "raftkv-bench: %llu requests failed (%s ), the first with: %s\n",
               static_cast<unsigned long long>(total_.failures()), codes.c_str(),
               total_.first_failure().c_str());
  if (options_.failures_ok) return true;
  return options_.loads() && total_.failures() < kLoadFailuresMax;
}

void Runner::Loop() {
  if (options_.open_loop()) StartDue();
  while (open_ > 0 || (options_.open_loop() && !Finished(schedule_->next()))) {
    void* tag = nullptr;
    bool ok = false;
    const NextStatus next = Next(&tag, &ok);
    const auto now = Clock::now();
    NoteTime(now);
    if (next == grpc::CompletionQueue::GOT_EVENT) {
      --open_;
      Take(static_cast<Client*>(tag), now);
    }
    if (options_.open_loop()) StartDue();
  }
}

// What is due is sent, however late it is, and if there is nobody to send it, it is counted: who
// waits for a client to be free is not seen by the server, and would make any latency up.
void Runner::StartDue() {
  const auto now = Clock::now();
  Clock::time_point start;
  while (!Finished(schedule_->next()) && schedule_->TakeDue(now, &start)) {
    if (idle_.empty() && clients_.size() < static_cast<size_t>(options_.clients_max)) {
      idle_.push_back(AddClient());
    }
    if (idle_.empty()) {
      if (Counts(start)) {
        total_.Unstarted();
        interval_.Unstarted();
      }
      continue;
    }
    Client* client = idle_.back();
    idle_.pop_back();
    Send(client, start);
  }
}

void Runner::Send(Client* client, Clock::time_point start) {
  ++sent_;
  ++open_;
  last_sent_ = start;
  client->SendNext(start);
}

bool Runner::Finished(Clock::time_point now) const {
  if (options_.loads()) return sources_.load.done() || total_.failures() >= kLoadFailuresMax;
  return options_.operations > 0 ? sent_ == options_.operations : now >= end_;
}

void Runner::NoteTime(Clock::time_point now) {
  if (!cpu_begun_ && now >= count_from_) {
    cpu_begun_ = true;
    cpu_.Begin();
  }
  if (now < interval_end_) return;
  interval_.End(now);
  Emit(output_.Line(interval_, nullptr));
  interval_.Begin(now, interval_.last_answer());
  interval_end_ = now + Seconds(options_.interval_seconds);
}

Runner::NextStatus Runner::Next(void** tag, bool* ok) {
  if (!options_.open_loop() && options_.interval_seconds == 0) {
    return queue_.Next(tag, ok) ? grpc::CompletionQueue::GOT_EVENT
                                : grpc::CompletionQueue::SHUTDOWN;
  }
  const auto now = Clock::now();
  auto until = interval_end_;
  if (options_.open_loop()) {
    // Once all was sent, only answers are waited for.
    const auto due = Finished(schedule_->next()) ? now + Seconds(1) : schedule_->next();
    until = std::min(until, due);
    if (until - now < kFineSleepFrom) {
      const NextStatus next = queue_.AsyncNext(tag, ok, ToGrpcTime(Clock::duration::zero()));
      const auto rest = std::min<Clock::duration>(until - Clock::now(), kFineSleep);
      if (next != grpc::CompletionQueue::TIMEOUT || rest <= Clock::duration::zero()) return next;
      const timespec sleep{0, std::chrono::nanoseconds(rest).count()};
      nanosleep(&sleep, nullptr);
      return next;
    }
    until -= kFineSleepFrom / 2;
  }
  return queue_.AsyncNext(tag, ok, ToGrpcTime(until - now));
}

void Runner::Take(Client* client, Clock::time_point now) {
  const grpc::Status& status = client->status();
  if (Counts(client->start())) {
    for (Result* result : {&total_, &interval_}) {
      if (status.ok()) {
        result->Answered(client->start(), now, client->found());
      } else {
        result->Failed(NameOf(status.error_code()), status.error_message());
      }
    }
  }
  if (options_.loads() && !status.ok() && total_.failures() < kLoadFailuresMax) {
    ++open_;
    client->SendAgain();
    return;
  }
  if (options_.open_loop()) {
    idle_.push_back(client);
  } else if (!Finished(now)) {
    Send(client, now);
  }
}

}  // namespace raftkv::bench
