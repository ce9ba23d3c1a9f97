// How threads hand things to an owner thread: bounded where the sender can be refused, with one
// wake-up for everything waiting.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace raftkv {

// Many producers, one consumer. The consumer takes everything at once.
template <typename T>
class Mailbox {
 public:
  // `capacity` bounds what TryPush lets in; Push is for producers whose number of items in flight
  // is bounded elsewhere (completions).
  explicit Mailbox(size_t capacity) : capacity_(capacity) {}

  // False, and `item` is untouched, when full or closed.
  bool TryPush(T&& item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
      if (items_.size() > 1) return true;  // the consumer was woken by the first
    }
    ready_.notify_one();
    return true;
  }

  // False when closed.
  bool Push(T item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return false;
      items_.push_back(std::move(item));
      if (items_.size() > 1) return true;
    }
    ready_.notify_one();
    return true;
  }

  // Moves everything waiting to `out` (cleared first), in order. Waits until there is something, or
  // `deadline` (if given), or Close. False only when closed and empty.
  bool Drain(std::vector<T>* out,
             std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt) {
    out->clear();
    std::unique_lock lock(mutex_);
    auto has_news = [this] { return !items_.empty() || closed_; };
    if (deadline) {
      ready_.wait_until(lock, *deadline, has_news);
    } else {
      ready_.wait(lock, has_news);
    }
    std::swap(*out, items_);
    return !out->empty() || !closed_;
  }

  // As Drain, without waiting: there may be nothing.
  bool Take(std::vector<T>* out) {
    out->clear();
    std::lock_guard lock(mutex_);
    std::swap(*out, items_);
    return !out->empty() || !closed_;
  }

  // Nothing more gets in; what is in can still be drained.
  void Close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<T> items_;
  bool closed_ = false;
};

}  // namespace raftkv
