// Threads that read the store: a long range must hold up neither the raft thread, nor apply, nor
// the threads that take requests off the network.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace raftkv::server {

class ReaderPool {
 public:
  explicit ReaderPool(size_t threads);
  ~ReaderPool();

  // Runs `work` on one of the threads; at once, on the caller's, when the pool has stopped. Any
  // thread. What waits is bounded by the number of requests let in (RaftLoopOptions::inflight_max).
  void Post(std::function<void()> work);

  // Finishes what was posted. Idempotent.
  void Stop();

  size_t queue_depth() const;

 private:
  void Run();

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> queue_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace raftkv::server
