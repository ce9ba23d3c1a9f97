// The one thread of a node that waits for the network.
//
// gRPC 1.51 has all its sockets in one epoll set, whatever queue or server they belong to, and one
// thread at a time waits for it. With a second thread waiting for gRPC's events, of any queue, each
// event wakes both: one takes it, the other takes over the wait, and what was for the other's queue
// is handed over through an eventfd. That was half of all context switches of a put. So there is
// one completion queue and one thread for everything that is frequent: clients' calls, the streams
// to and from the peers, and the raft loop, which takes its turn after each bunch of events.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace raftkv::server {

// What a completion queue's tags point to.
class Tag {
 public:
  virtual ~Tag() = default;
  // On the queue's thread.
  virtual void Proceed(bool ok) = 0;

  // ThreadSanitizer does not see into gRPC: that what comes before an operation is started is seen
  // by Proceed must be told.
  void Given() {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(this);
#endif
  }
  void Taken() {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(this);
#endif
  }
};

// How many calls and streams there are, those that are waited for included. gRPC aborts the process
// when an operation is started on a queue that was shut down, and what is open may start one until
// its last event: a server's or a stream's shutdown does not wait for that.
class OpenCalls {
 public:
  void Add() { open_.fetch_add(1); }
  void Remove() {
    if (open_.fetch_sub(1) != 1) return;
    std::lock_guard lock(mutex_);
    none_.notify_all();
  }
  // For a minute at most; false if there still are some.
  bool WaitForNone();

 private:
  std::atomic<int64_t> open_{0};
  std::mutex mutex_;
  std::condition_variable none_;
};

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  // Called on the loop's thread, after each bunch of events and by the time it returned last.
  using Turn = std::function<Clock::time_point()>;

  EventLoop();
  ~EventLoop();  // Stops.
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // How soon a server's new calls are noticed. gRPC gives each server a queue of its own for them,
  // and the loop waits for one of these only. What a call does, once it is there, is done on
  // queue() in any case.
  enum class NewCalls {
    kAtOnce,     // one server only
    kEventually  // within kLookEvery
  };
  // Where the new calls of the server arrive. Before Start, and the builder's BuildAndStart.
  grpc::ServerCompletionQueue* AddServer(grpc::ServerBuilder* builder, NewCalls new_calls);
  // Everything that starts operations on a server's queue is counted here.
  OpenCalls* open() { return &open_; }
  // Where to start all other operations. After AddServer(kAtOnce).
  grpc::CompletionQueue* queue() { return queue_.get(); }

  void Start();

  // Has a turn taken, now and from then on; any thread. Null: no more; waits for one under way.
  void SetTurn(Turn turn);

  // A turn follows soon. Any thread; cheap on the loop's own, where one follows anyway.
  void Wake();

  // Whether the caller is on the loop's thread and may do there at once what another thread would
  // have to be woken for: some microseconds of work, without waiting. No longer so when it has been
  // at the same bunch of events, or the same turn, for kAtOnceMax: raft must have its turn.
  bool HasTime() const;

  // Ends the thread when all calls and streams have ended: the servers were shut down, the streams
  // to others cancelled, and whoever owes an answer has given it. Idempotent.
  void Stop();

 private:
  static constexpr auto kLookEvery = std::chrono::milliseconds(20);
  static constexpr auto kAtOnceMax = std::chrono::milliseconds(5);

  class Woken final : public Tag {
   public:
    explicit Woken(std::atomic<bool>* woken) : woken_(woken) {}
    void Proceed(bool) override { woken_->store(false); }

   private:
    std::atomic<bool>* const woken_;
  };

  void Run();
  // Handles what is there by `deadline`, but not more than a bunch; false once the queue is shut
  // down and empty.
  bool Handle(grpc::CompletionQueue* queue, Clock::time_point deadline);
  void Empty(grpc::CompletionQueue* queue);
  Clock::time_point TakeTurn();

  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> other_queues_;
  OpenCalls open_;
  bool stopped_ = false;
  std::atomic<bool> woken_{false};
  Woken woken_tag_{&woken_};
  grpc::Alarm alarm_;
  std::atomic<std::thread::id> running_on_{};
  Clock::time_point busy_since_;  // the loop's own: when the bunch or the turn began
  std::mutex turn_mutex_;         // held during a turn
  Turn turn_;
  std::thread thread_;
};

}  // namespace raftkv::server
