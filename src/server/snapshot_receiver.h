// Takes in snapshots that leaders send.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <variant>

#include "common/mailbox.h"
#include "common/status.h"
#include "common/types.h"
#include "raft.grpc.pb.h"
#include "raft/message.h"
#include "server/queue_stream.h"
#include "server/snapshot_stream.h"

namespace raftkv::server {

// Owns a thread that checks and writes the chunks. One snapshot at a time is taken in: one of a
// newer leader, or with a higher position, overtakes another; after a broken connection it goes on
// where it was. Thread-safe.
class SnapshotReceiver {
 public:
  // A snapshot has arrived whole and is staged. The receiving node steps
  // InstallSnapshot{meta} in the name of `from` in `term`, and drops the staged data if the core
  // does not take it. Called on the receiver's thread.
  using OnReady = std::function<void(NodeId from, Term term, raft::SnapshotMeta meta)>;
  using Stream = ServerStream<peer::v1::SnapshotPart, peer::v1::SnapshotAnswer>;
  // Whether a stream is taken, and whose it is.
  using Admit = std::function<grpc::Status(const grpc::ServerContextBase& context, NodeId* from)>;
  // Asks gRPC for the next stream: the generated RequestSnapshot, bound to its queues.
  using Request = std::function<void(
      grpc::ServerContext*,
      grpc::ServerAsyncReaderWriter<peer::v1::SnapshotAnswer, peer::v1::SnapshotPart>*, void* tag)>;

  // `directory` (made if missing) is this receiver's alone: what an earlier process left there is
  // removed. kIoError when that fails.
  static StatusOr<std::unique_ptr<SnapshotReceiver>> Start(std::string directory,
                                                           OpenChunkSink open, OnReady on_ready);
  // The gRPC server must have been shut down.
  ~SnapshotReceiver();

  // Serves the next stream; for PeerService. With no receiver (null) it is UNIMPLEMENTED.
  static void Expect(SnapshotReceiver* receiver, OpenCalls* open, Admit admit,
                     const Request& request);

  // Members that were removed: what they send is not taken any more, and their streams end.
  void SetRemoved(std::set<NodeId> removed);

  // Nothing is taken in any more; waits for the thread, not for the streams. Before the gRPC server
  // is shut down, whose streams then end.
  void Stop();

  TransferStats stats() const;

 private:
  class Session;
  // Something for the thread to do.
  struct Event {
    std::shared_ptr<Session> session;
    bool ended = false;
    peer::v1::SnapshotPart part;
  };
  using Mail = std::variant<Event, std::set<NodeId>>;  // the latter: SetRemoved
  // The snapshot that is being taken in. Its session may have ended: then it waits to be resumed.
  struct Incoming {
    NodeId from;
    Term term;
    uint64_t snapshot = 0;
    uint64_t transfer = 0;
    LogPosition last;
    std::string directory;
    std::unique_ptr<ChunkSink> sink;
    std::shared_ptr<Session> session;
    bool resend_asked = false;
    std::chrono::steady_clock::time_point begun;
  };

  SnapshotReceiver(std::string directory, OpenChunkSink open, OnReady on_ready);

  void Run();
  void Handle(Event* event);
  void OnStart(const std::shared_ptr<Session>& session, const peer::v1::SnapshotStart& start);
  std::string ReasonToRefuse(const peer::v1::SnapshotStart& start) const;
  Status Begin(const peer::v1::SnapshotStart& start);
  void OnChunk(const std::shared_ptr<Session>& session, const peer::v1::SnapshotChunk& chunk);
  void Complete();
  void Refuse(const std::shared_ptr<Session>& session, const std::string& reason);
  void EndRemoved(std::set<NodeId> removed);
  void DropIncoming();

  const std::string directory_;
  const OpenChunkSink open_;
  const OnReady on_ready_;
  Mailbox<Mail> mail_;
  std::atomic<bool> stopped_{false};
  mutable std::mutex stats_mutex_;
  TransferStats stats_;  // guarded by stats_mutex_

  // The thread's own.
  std::optional<Incoming> incoming_;
  Term newest_term_;
  std::set<NodeId> removed_;
  uint64_t delivered_transfer_ = 0;
  uint64_t directories_ = 0;  // made so far

  std::thread thread_;
};

}  // namespace raftkv::server
