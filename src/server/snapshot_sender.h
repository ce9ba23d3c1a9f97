// Sends snapshots to followers whose next entry has been cut off the log.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "common/status.h"
#include "common/types.h"
#include "server/options.h"
#include "server/snapshot_stream.h"
#include "server/token_bucket.h"

namespace raftkv::server {

struct SnapshotSenderOptions {
  ClusterId cluster;
  NodeId self;
  std::string advertise_url;
  uint64_t rate_bytes = 100ull << 20;  // a second; 0: no limit
  uint32_t window = 8;                 // unacknowledged chunks
  // Without a connection, or without progress on one: the receiver is given up.
  std::chrono::milliseconds give_up{30'000};
  std::chrono::milliseconds reconnect_pause{200};
  // A connection is renewed after this, so that one that hangs can't hold up the thread for ever;
  // the transfer goes on where it was.
  std::chrono::milliseconds connection_max{60'000};
  // How often one chunk is sent again after it arrived damaged.
  uint32_t resends_max = 3;
  // A snapshot is used for others who ask within this time, if it reaches far enough.
  std::chrono::milliseconds reuse{60'000};
  // For tests; by default the steady clock and a wait that Stop interrupts.
  std::function<std::chrono::steady_clock::time_point()> now;
  std::function<void(std::chrono::nanoseconds)> pause;
};

// Owns a thread; one receiver at a time. The public functions are thread-safe and don't block,
// except Stop.
class SnapshotSender {
 public:
  using AddressOf = std::function<std::optional<Url>(NodeId)>;
  // Outcome of a request, on the sender's thread: up to where the snapshot reaches that was
  // delivered, or none. Once for each request, but for those that Stop or a second request for the
  // same node makes void. For Core::OnSnapshotSent.
  using OnSent = std::function<void(NodeId to, Index last)>;

  SnapshotSender(SnapshotSenderOptions options, OpenChunkSource open, AddressOf address,
                 OnSent on_sent);
  ~SnapshotSender();

  // `term` is the leader's; the snapshot must hold all before `first_index`, where its log begins.
  // A second request for `to` while one waits takes its place.
  void Send(NodeId to, Term term, Index first_index);
  // This node leads no more, or `to` is no member: what is under way is abandoned.
  void CancelAll();
  void Cancel(NodeId to);
  void Stop();

  TransferStats stats() const;
  bool sending() const;

 private:
  struct Request {
    NodeId to;
    Term term;
    Index first_index;
    uint64_t transfer = 0;
    bool cancelled = false;
  };
  struct Transfer;
  class Connection;

  void Run();
  StatusOr<Index> Serve(const Request& request);
  Status OpenSourceFor(const Request& request);
  // kUnavailable: the connection broke, or could not be made.
  Status Attempt(Transfer* transfer);
  Status GoTo(Transfer* transfer, uint64_t number);
  Status SendChunks(Transfer* transfer, Connection* connection);
  Status SendOne(Transfer* transfer, Connection* connection);
  Status TakeAnswer(Transfer* transfer, Connection* connection);
  void Pause(std::chrono::nanoseconds duration);
  bool Abandoned() const;

  SnapshotSenderOptions options_;
  const OpenChunkSource open_;
  const AddressOf address_;
  const OnSent on_sent_;
  TokenBucket bucket_;

  // The thread's own.
  std::unique_ptr<ChunkSource> source_;
  std::chrono::steady_clock::time_point source_time_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::deque<Request> queue_;
  std::optional<Request> current_;
  bool current_cancelled_ = false;
  grpc::ClientContext* call_ = nullptr;  // of the current connection, to cancel it
  TransferStats stats_;

  std::thread thread_;
};

}  // namespace raftkv::server
