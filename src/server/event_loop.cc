#include "server/event_loop.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace raftkv::server {
namespace {

// Events that are handled before the turn that deals with them all.
constexpr int kEventsPerTurn = 256;

// gRPC waits in whole milliseconds, rounded up: for what is due already it must not wait at all.
const gpr_timespec kNoWait = gpr_time_0(GPR_CLOCK_MONOTONIC);

gpr_timespec ToGrpcTime(EventLoop::Clock::time_point deadline) {
  const auto wait = deadline - EventLoop::Clock::now();
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count();
  if (nanoseconds <= 0) return kNoWait;
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(nanoseconds, GPR_TIMESPAN));
}

}  // namespace

bool OpenCalls::WaitForNone() {
  std::unique_lock lock(mutex_);
  return none_.wait_for(lock, std::chrono::minutes(1), [this] { return open_.load() == 0; });
}

EventLoop::EventLoop() = default;

EventLoop::~EventLoop() { Stop(); }

grpc::ServerCompletionQueue* EventLoop::AddServer(grpc::ServerBuilder* builder,
                                                  NewCalls new_calls) {
  RAFTKV_CHECK(!thread_.joinable(), "servers are added before the loop is started");
  if (new_calls == NewCalls::kEventually) {
    return other_queues_.emplace_back(builder->AddCompletionQueue()).get();
  }
  RAFTKV_CHECK(queue_ == nullptr, "the new calls of one server only are noticed at once");
  queue_ = builder->AddCompletionQueue();
  return queue_.get();
}

void EventLoop::Start() {
  RAFTKV_CHECK(queue_ != nullptr, "a loop needs a queue to wait for");
  thread_ = std::thread([this] { Run(); });
}

void EventLoop::SetTurn(Turn turn) {
  {
    std::lock_guard lock(turn_mutex_);
    turn_ = std::move(turn);
  }
  Wake();
}

void EventLoop::Wake() {
  if (std::this_thread::get_id() == thread_.get_id()) return;
  // The alarm is free again once its tag was handled.
  if (woken_.exchange(true)) return;
  woken_tag_.Given();
  alarm_.Set(queue(), kNoWait, &woken_tag_);
}

bool EventLoop::HasTime() const {
  return running_on_.load(std::memory_order_relaxed) == std::this_thread::get_id() &&
         Clock::now() - busy_since_ < kAtOnceMax;
}

bool EventLoop::Handle(grpc::CompletionQueue* queue, Clock::time_point deadline) {
  using Result = grpc::CompletionQueue::NextStatus;
  void* tag = nullptr;
  bool ok = false;
  Result result = queue->AsyncNext(&tag, &ok, ToGrpcTime(deadline));
  busy_since_ = Clock::now();
  for (int handled = 1; result == Result::GOT_EVENT; ++handled) {
    auto* const operation = static_cast<Tag*>(tag);
    operation->Taken();
    operation->Proceed(ok);
    if (handled == kEventsPerTurn) return true;
    result = queue->AsyncNext(&tag, &ok, kNoWait);
  }
  return result != Result::SHUTDOWN;
}

EventLoop::Clock::time_point EventLoop::TakeTurn() {
  std::lock_guard lock(turn_mutex_);
  busy_since_ = Clock::now();
  return turn_ ? turn_() : Clock::time_point::max();
}

void EventLoop::Run() {
  pthread_setname_np(pthread_self(), "event-loop");
  running_on_ = std::this_thread::get_id();
  const auto never = Clock::time_point::max();
  Clock::time_point next_look = other_queues_.empty() ? never : Clock::now();
  Clock::time_point deadline = TakeTurn();
  while (Handle(queue(), std::min(deadline, next_look))) {
    if (next_look != never && Clock::now() >= next_look) {
      for (const auto& other : other_queues_) Handle(other.get(), Clock::time_point());
      next_look = Clock::now() + kLookEvery;
    }
    deadline = TakeTurn();
  }
  for (const auto& other : other_queues_) Empty(other.get());
}

// A queue must be empty before it goes.
void EventLoop::Empty(grpc::CompletionQueue* queue) {
  while (Handle(queue, Clock::time_point::max())) {
  }
}

void EventLoop::Stop() {
  if (stopped_) return;
  stopped_ = true;
  if (thread_.joinable() && !open_.WaitForNone()) {
    spdlog::error("stopping although calls are open that nobody has answered");
  }
  if (queue_ != nullptr) queue_->Shutdown();
  for (const auto& other : other_queues_) other->Shutdown();
  if (thread_.joinable()) {
    thread_.join();
    return;
  }
  if (queue_ != nullptr) Empty(queue_.get());
  for (const auto& other : other_queues_) Empty(other.get());
}

}  // namespace raftkv::server
