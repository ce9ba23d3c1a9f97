// The stream to one peer.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "common/types.h"
#include "raft.grpc.pb.h"
#include "server/event_loop.h"
#include "server/options.h"

namespace raftkv::server {

struct PeerLinkOptions {
  ClusterId cluster;
  NodeId self;
  NodeId id;              // the peer
  std::string name;       // of the peer, for the log
  std::vector<Url> urls;  // where it is reached; at least one, tried in turn
  std::string advertise_url;
  EventLoop* loop = nullptr;  // where the stream's events come
  // The peer says that this node was removed; on the loop's thread.
  std::function<void(const std::string& reason)> on_removed;
};

// Its state is guarded by its mutex, which is never held during I/O; the stream's callbacks come on
// the event loop's thread.
class PeerLink {
 public:
  explicit PeerLink(PeerLinkOptions options);
  // Cancels and waits, which needs the loop: not for its thread.
  ~PeerLink();

  PeerLink(const PeerLink&) = delete;
  PeerLink& operator=(const PeerLink&) = delete;

  // Takes the frames of `batch`; false when they were dropped. With `need_stream`, refuses
  // unless a stream is open.
  bool Send(peer::v1::FrameBatch* batch, bool need_stream);

  // Nothing is sent any more; the stream ends in the background.
  void Cancel();
  // After Cancel.
  void WaitUntilEnded();
  bool has_ended() const;

  const std::vector<Url>& urls() const { return options_.urls; }
  Url url() const;  // in use
  bool connected() const;
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  class Stream;

  // Both need mutex_.
  void OpenStreamIfDue();
  bool StartWriteIfIdle();

  void OnWritten(bool ok);
  void OnAccepted();
  void OnBroken();
  void OnEnded(const grpc::Status& status);

  const PeerLinkOptions options_;
  std::vector<std::unique_ptr<peer::v1::Peer::Stub>> stubs_;  // one a URL
  std::atomic<uint64_t> dropped_{0};

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  size_t current_ = 0;  // URL
  bool stopped_ = false;
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<Stream> last_stream_;  // ended; destroyed when its last callback has returned
  bool connected_ = false;               // the peer has accepted this stream
  bool broken_ = false;                  // the peer ended it; no further write may start
  bool writing_ = false;
  bool reported_down_ = false;
  std::chrono::steady_clock::time_point next_attempt_;
  peer::v1::FrameBatch waiting_;
  size_t waiting_bytes_ = 0;
  peer::v1::FrameBatch in_flight_;
};

}  // namespace raftkv::server
