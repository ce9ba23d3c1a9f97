// Gives disk space back: rewrites the applied state, without what was deleted or overwritten.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <mutex>
#include <string>

#include "common/status.h"
#include "store/engine.h"

namespace raftkv::server {

// One run at a time, on a thread of its own; reads and writes go on meanwhile. Thread-safe.
class Defragmenter {
 public:
  // `engine` must outlive it. At most `rate_bytes` a second are rewritten; 0: no limit.
  Defragmenter(store::Engine* engine, uint64_t rate_bytes);
  ~Defragmenter();

  // Starts a run unless one is under way, waits for it and returns its outcome. When `give_up`
  // (asked every so often) says true, kCancelled; the run itself goes on.
  Status Run(const std::function<bool()>& give_up);

  // Ends a run under way after the piece it is at. Idempotent.
  void Stop();

 private:
  Status Rewrite();
  Status Compact(const store::FamilyHandle& kv, const std::string& from, const std::string* to);
  void Pause(std::chrono::steady_clock::time_point until);

  store::Engine* const engine_;
  const uint64_t rate_bytes_;

  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopped_ = false;
  std::shared_future<Status> run_;  // the last one
};

}  // namespace raftkv::server
