// The composition root: what a node consists of, and in which order it starts and stops.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "common/status.h"
#include "server/backend.h"
#include "server/client_api.h"
#include "server/defragmenter.h"
#include "server/event_loop.h"
#include "server/http_api.h"
#include "server/maintenance.h"
#include "server/metrics.h"
#include "server/options.h"
#include "server/peer_service.h"
#include "server/raft_loop.h"
#include "server/reader_pool.h"
#include "server/replica_check.h"
#include "server/session_limits_request.h"
#include "server/snapshot_receiver.h"
#include "server/snapshot_sender.h"
#include "server/transport.h"
#include "store/apply_loop.h"
#include "store/directory_lock.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "wal/fence.h"
#include "wal/log_store.h"
#include "wal/log_writer.h"
#include "wal/start_check.h"

namespace raftkv::server {

// One node. Start and Stop belong to the main thread.
class App {
 public:
  // `on_end` is called once, on any thread, when the node can't go on and wants to be stopped:
  // end_reason() then says why. It must not block.
  explicit App(ServerOptions options, std::function<void()> on_end = nullptr);
  ~App();

  // Opens (or bootstraps) the data directory, verifies it, recovers, binds and serves. On failure
  // nothing is left running and the message says what to do.
  Status Start();

  // Takes no new requests, hands leadership on, finishes what is under way (within a bound),
  // flushes, closes. OK when all data is flushed.
  Status Stop();

  // Empty while all is well. Any thread.
  std::string end_reason() const;

 private:
  // app.cc
  Status OpenDirectory();
  Status BootstrapDirectory(const store::EngineOptions& engine) const;
  Status CheckIdentity();
  Status CheckBeforeDropping(const store::EngineOptions& engine);
  StatusOr<wal::StartVerdict> Verify();
  Status Recover();
  Status KeepPromises(const wal::StartVerdict& verdict);

  // app_threads.cc
  void StartThreads();
  void StartRaftLoop();
  void StartMaintenance();
  void MakeReplicaCheck();
  void MakeSessionLimitsRequest();
  void StartSnapshotSender();
  Status StartSnapshotReceiver();
  AdminHooks MakeAdminHooks();
  void End(const std::string& reason);
  void OnRemoved(const std::string& reason);
  JoinedCluster KnownCluster() const;
  Status Backup(const std::function<Status(std::string_view)>& write);

  Status StartServers();
  Status StartPeerServer();
  void OnRoleChange(const raft::RoleChange& change);
  void OnApplied(Index applied, uint64_t microseconds);
  void HandLeadershipOn();

  // Its ids are those of the directory once that is open: a member that joined has ids that its
  // flags don't give.
  ServerOptions options_;
  const std::function<void()> on_end_;
  mutable std::mutex end_mutex_;
  std::string end_reason_;
  Metrics metrics_;

  // In the order in which they start; destroyed the other way round.
  std::unique_ptr<store::DirectoryLock> lock_;
  std::unique_ptr<store::Engine> engine_;
  std::unique_ptr<wal::LogStore> log_store_;
  std::unique_ptr<wal::Fence> fence_;
  std::unique_ptr<store::KvStore> kv_store_;
  wal::RecoveredLog recovered_;
  std::unique_ptr<store::ApplyLoop> apply_loop_;
  std::unique_ptr<EventLoop> event_loop_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ReaderPool> readers_;
  // One thread for what takes long and can wait: hashes, comparisons.
  std::unique_ptr<ReaderPool> background_;
  std::unique_ptr<Defragmenter> defragmenter_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<RaftLoop> raft_loop_;
  std::unique_ptr<SnapshotSender> snapshot_sender_;
  std::unique_ptr<SnapshotReceiver> snapshot_receiver_;
  std::unique_ptr<wal::LogWriter> log_writer_;
  std::unique_ptr<Backend> backend_;
  std::atomic<uint64_t> leads_in_term_{0};                // 0: this node does not lead
  std::unique_ptr<SessionLimitsRequest> session_limits_;  // null: its flags ask for nothing
  std::unique_ptr<ReplicaCheck> replica_check_;
  std::unique_ptr<Maintenance> maintenance_;
  std::unique_ptr<PeerService> peer_service_;
  std::unique_ptr<ClientApi> client_api_;
  std::unique_ptr<HttpApi> http_api_;

  // Set by Start once the edges exist: callbacks may come before.
  std::atomic<ClientApi*> serving_{nullptr};
  // What a start has to apply again, and since when; for the log and the metric.
  Index replay_from_;
  Index replay_to_;
  RaftLoop::Clock::time_point replay_start_;
  bool stopped_ = false;
};

}  // namespace raftkv::server
