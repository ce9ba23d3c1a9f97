// The composition root's second half: the threads of a node, and what they have to do with each
// other.

#include <spdlog/spdlog.h>

#include <optional>
#include <random>
#include <set>

#include "server/app.h"
#include "server/marker_file.h"
#include "server/peer_hash.h"
#include "server/snapshot_store.h"
#include "store/engine_files.h"
#include "store/kv_errors.h"
#include "store/snapshot_file.h"

namespace raftkv::server {
namespace {

constexpr size_t kReaderThreads = 2;

Status BackupCheckpoint(const std::string& path, uint64_t id,
                        const std::function<Status(std::string_view)>& write) {
  RAFTKV_ASSIGN_OR_RETURN(const auto source, OpenCheckpointSource(path, id));
  return store::WriteSnapshotFile(source.get(), write);
}

}  // namespace

void App::StartThreads() {
  apply_loop_ = std::make_unique<store::ApplyLoop>(
      kv_store_.get(), store::ApplyLoopOptions{},
      [this](Index applied, uint64_t microseconds) { OnApplied(applied, microseconds); });
  event_loop_ = std::make_unique<EventLoop>();
  transport_ = std::make_unique<Transport>(
      options_.cluster_id, options_.id, options_.initial_cluster, event_loop_.get(),
      options_.initial_advertise_peer_urls[0].ToString(),
      [this](const std::string& reason) { OnRemoved(reason); });
  readers_ = std::make_unique<ReaderPool>(kReaderThreads);
  background_ = std::make_unique<ReaderPool>(1);
  defragmenter_ = std::make_unique<Defragmenter>(engine_.get(), options_.defrag_rate_bytes);
  StartRaftLoop();
  StartSnapshotSender();
  log_writer_ = std::make_unique<wal::LogWriter>(
      engine_.get(), log_store_.get(), fence_.get(),
      [this](std::span<raft::AppendTask> tasks) {
        // The promises go out from here: a turn of the raft thread would only delay them.
        for (const raft::AppendTask& task : tasks) transport_->Send(task.after_sync);
        raft_loop_->OnAppended(tasks.back().seq);
      },
      [this](uint64_t microseconds) { metrics_.ObserveSync(microseconds); },
      [this](uint64_t microseconds) {
        metrics_.ObserveUpkeep(UpkeepTask::kCut, static_cast<double>(microseconds) * 1e-6);
      });
  raft_loop_->SetLogWriter(log_writer_.get());
  backend_ = std::make_unique<Backend>(options_, engine_.get(), kv_store_.get(), apply_loop_.get(),
                                       raft_loop_.get(), event_loop_.get(), readers_.get(),
                                       background_.get(), recovered_.membership);
  backend_->RefreshAlarms();
  MakeSessionLimitsRequest();
  StartMaintenance();
}

// Made here and started last.
void App::StartRaftLoop() {
  raft::Options raft_options;
  raft_options.id = options_.id;
  raft_options.run = fence_->run();
  raft_options.heartbeat_ticks = 1;
  raft_options.defer_commit = true;
  raft_options.election_ticks = options_.election_timeout_ms / options_.heartbeat_interval_ms;
  raft::PersistentState state = wal::StartingState(recovered_, kv_store_->applied().position);
  state.acknowledged = fence_->found().acknowledged;
  std::random_device device;
  auto core = std::make_unique<raft::Core>(
      raft_options, state, *log_store_,
      Rng((static_cast<uint64_t>(device()) << 32) ^ device() ^ options_.id.value()));

  RaftLoopOptions loop;
  loop.tick = std::chrono::milliseconds(options_.heartbeat_interval_ms);
  loop.request_timeout = std::chrono::milliseconds(options_.RequestTimeoutMs());
  loop.transfer_timeout = std::chrono::milliseconds(2 * options_.election_timeout_ms);
  loop.inflight_max = options_.max_inflight_requests;
  RaftLoopHooks hooks;
  hooks.role_changed = [this](const raft::RoleChange& change) { OnRoleChange(change); };
  hooks.membership_changed = [this](const Membership& membership) {
    transport_->SetMembers(membership);
  };
  // Not before: a member that is told that it was removed stops for good, and an uncommitted
  // removal may yet be undone.
  hooks.membership_committed = [this](const Membership& membership) {
    peer_service_->SetMembers(membership);
    for (const NodeId id : membership.removed) snapshot_sender_->Cancel(id);
  };
  hooks.installing = [this](const raft::SnapshotMeta& snapshot) {
    backend_->SetBase(snapshot.membership);
  };
  hooks.snapshot_wanted = [this](NodeId to, Term term, Index first_index) {
    snapshot_sender_->Send(to, term, first_index);
  };
  hooks.removed = [this] { OnRemoved("its removal is committed"); };
  raft_loop_ = std::make_unique<RaftLoop>(loop, std::move(core), transport_.get(),
                                          apply_loop_.get(), std::move(hooks));
}

void App::StartSnapshotSender() {
  SnapshotSenderOptions options;
  options.cluster = options_.cluster_id;
  options.self = options_.id;
  options.advertise_url = options_.initial_advertise_peer_urls[0].ToString();
  options.rate_bytes = options_.snapshot_rate_bytes;
  snapshot_sender_ = std::make_unique<SnapshotSender>(
      options, StoreChunkSource(engine_.get(), options_.data_dir + "/snapshot.out"),
      [this](NodeId to) { return transport_->AddressOf(to); },
      [this](NodeId to, Index last) { raft_loop_->OnSnapshotSent(to, last); });
}

// Before the peer server, whose handlers use it.
Status App::StartSnapshotReceiver() {
  RAFTKV_ASSIGN_OR_RETURN(
      snapshot_receiver_,
      SnapshotReceiver::Start(options_.data_dir + "/snapshot.in", StoreChunkSink(engine_.get()),
                              [this](NodeId from, Term term, raft::SnapshotMeta meta) {
                                const uint64_t id = meta.id;
                                raft_loop_->OnSnapshotReady(
                                    from, term, std::move(meta), [this, id](bool taken) {
                                      if (taken) return;
                                      // Dropping a family writes the MANIFEST: not for the raft
                                      // thread.
                                      background_->Post([this, id] {
                                        const Status dropped = engine_->DropStagedKv(id);
                                        if (!dropped.ok()) spdlog::error("{}", dropped.message());
                                      });
                                    });
                              }));
  return Status::Ok();
}

void App::MakeReplicaCheck() {
  ReplicaCheckHooks hooks;
  hooks.leads = [this] { return raft_loop_->status().role == raft::Role::kLeader; };
  hooks.others = [this] {
    std::set<NodeId> members = raft_loop_->status().membership->All();
    members.erase(options_.id);
    return members;
  };
  hooks.hash_own = [this]() -> StatusOr<HashKvAnswer> {
    RAFTKV_ASSIGN_OR_RETURN(const store::KvStore::Hash hash,
                            kv_store_->HashAt(0, [this] { return stopping_.load(); }));
    HashKvAnswer answer;
    answer.hash = hash.hash;
    answer.revision = static_cast<uint64_t>(hash.revision);
    return answer;
  };
  hooks.ask = [this](NodeId id, uint64_t revision) -> StatusOr<HashKvAnswer> {
    const std::optional<Url> url = transport_->AddressOf(id);
    if (!url) return Status(Code::kUnavailable, "its address is not known");
    HashKvQuestion question{options_.cluster_id, options_.id, id, *url, revision};
    return AskHashKv(question, [this] { return stopping_.load(); });
  };
  hooks.raise_alarm = [this](NodeId id) {
    backend_->ProposeAlarm(id, etcdserverpb::CORRUPT, /*raise=*/true);
  };
  hooks.post = [this](std::function<void()> work) { background_->Post(std::move(work)); };
  replica_check_ = std::make_unique<ReplicaCheck>(
      options_.id, std::chrono::seconds(options_.corrupt_check_time_s), std::move(hooks));
}

void App::MakeSessionLimitsRequest() {
  if (!options_.max_sessions && !options_.session_ttl_ms) return;
  SessionLimitsHooks hooks;
  hooks.leads = [this] { return Term(leads_in_term_); };
  hooks.propose = [this](const store::SessionLimits& limits, std::function<void(Status)> done) {
    backend_->ProposeSessionLimits(limits, std::move(done));
  };
  hooks.warn = [](const std::string& warning) { spdlog::warn("{}", warning); };
  session_limits_ = std::make_unique<SessionLimitsRequest>(
      options_.max_sessions, options_.session_ttl_ms, std::move(hooks));
}

void App::StartMaintenance() {
  MakeReplicaCheck();
  MaintenanceOptions options;
  options.flush = {options_.replay_entries_max, options_.replay_bytes_max,
                   options_.replay_ms_max * 1000};
  options.log_tail_entries = options_.snapshot_catchup_entries;
  options.log_tail_bytes = options_.snapshot_catchup_bytes;
  options.free_space_reserve_bytes = options_.free_space_reserve_bytes;
  MaintenanceHooks hooks;
  hooks.applied = [this] { return kv_store_->applied().position.index; };
  hooks.durable_applied = [this]() -> StatusOr<Index> {
    RAFTKV_ASSIGN_OR_RETURN(const store::AppliedRecord durable, kv_store_->DurableApplied());
    return durable.position.index;
  };
  hooks.bytes_applied = [this] { return raft_loop_->bytes_applied(); };
  hooks.apply_us = [this] { return apply_loop_->apply_cpu_us(); };
  hooks.log_first = [this] { return raft_loop_->status().first; };
  hooks.flush = [this] { return engine_->FlushKv(); };
  hooks.flush_log = [this] { return engine_->FlushLog(); };
  hooks.cut = [this](Index index) { raft_loop_->CutLog(index); };
  // What a snapshot being sent does not hold must still be there when it has arrived.
  hooks.hold_cut = [this] { return snapshot_sender_->sending(); };
  hooks.free_bytes = [this] { return FreeBytes(options_.data_dir); };
  hooks.space_alarm_raised = [this] {
    return backend_->HasAlarm(options_.id, etcdserverpb::NOSPACE);
  };
  hooks.change_alarm = [this](bool raise) {
    backend_->ProposeAlarm(options_.id, etcdserverpb::NOSPACE, raise);
  };
  hooks.step = [this](Maintenance::Clock::time_point now) {
    backend_->RefreshAlarms();
    replica_check_->Step(now);
    if (session_limits_) session_limits_->Step(kv_store_->applied(), now);
  };
  hooks.took = [this](UpkeepTask task, double seconds) { metrics_.ObserveUpkeep(task, seconds); };
  maintenance_ = std::make_unique<Maintenance>(options, std::move(hooks));
}

void App::OnApplied(Index applied, uint64_t microseconds) {
  metrics_.ObserveApply(microseconds);
  raft_loop_->OnApplied(applied);
  if (session_limits_) session_limits_->OnApplied(kv_store_->applied());
  if (replay_to_ > replay_from_ && applied >= replay_to_) {
    const double seconds =
        std::chrono::duration<double>(RaftLoop::Clock::now() - replay_start_).count();
    spdlog::info("replayed entries={} seconds={:.3f}", replay_to_ - replay_from_, seconds);
    metrics_.SetReplay(replay_to_ - replay_from_, seconds);
    replay_from_ = replay_to_;
  }
}

void App::OnRoleChange(const raft::RoleChange& change) {
  if (ClientApi* api = serving_.load()) api->SetServing(!change.leader.none());
  leads_in_term_ = change.role == raft::Role::kLeader ? change.term.value() : 0;
  if (!change.leader.none()) backend_->PublishAttributes();
  if (change.role != raft::Role::kLeader) snapshot_sender_->CancelAll();
}

// --- The end ----------------------------------------------------------------------------------

std::string App::end_reason() const {
  std::lock_guard lock(end_mutex_);
  return end_reason_;
}

void App::End(const std::string& reason) {
  {
    std::lock_guard lock(end_mutex_);
    if (!end_reason_.empty()) return;
    end_reason_ = reason;
  }
  spdlog::error("can't go on: {}", reason);
  if (on_end_) on_end_();
}

void App::OnRemoved(const std::string& reason) {
  // So that it is not started again by whatever keeps it running, to be refused by everyone.
  const Status marked = WriteMarkerFile(options_.data_dir + "/" + kRemovedMarker, reason + "\n");
  if (!marked.ok()) spdlog::error("{}", marked.message());
  End("this member was removed from the cluster (" + reason +
      "); to join again, remove its data directory and add it as a new member");
}

// --- What others may know ---------------------------------------------------------------------

JoinedCluster App::KnownCluster() const {
  const RaftStatus status = raft_loop_->status();
  JoinedCluster cluster;
  cluster.cluster = options_.cluster_id;
  cluster.self = options_.id;
  cluster.leader = status.leader;
  if (status.membership == nullptr) return cluster;
  for (const etcdserverpb::Member& member : backend_->Describe(*status.membership)) {
    ClusterMember& out = cluster.members.emplace_back();
    out.id = NodeId(member.id());
    out.name = member.name();
    out.peer_urls.assign(member.peerurls().begin(), member.peerurls().end());
    out.learner = member.islearner();
  }
  // So that one that comes back with an empty directory is told.
  for (const NodeId id : status.membership->removed) {
    const auto info = status.membership->info.find(id);
    if (info == status.membership->info.end()) continue;
    cluster.members.push_back(
        {id, "", info->second.peer_urls, /*learner=*/false, /*removed=*/true});
  }
  return cluster;
}

AdminHooks App::MakeAdminHooks() {
  AdminHooks hooks;
  hooks.defragment = [this](const std::function<bool()>& give_up) {
    return defragmenter_->Run(give_up);
  };
  hooks.backup = [this](const std::function<Status(std::string_view)>& write) {
    return Backup(write);
  };
  return hooks;
}

// --- Backups ----------------------------------------------------------------------------------

// A checkpoint's files stay while it is read; what is written meanwhile is not in it.
Status App::Backup(const std::function<Status(std::string_view)>& write) {
  std::random_device device;
  const uint64_t id = (static_cast<uint64_t>(device()) << 32) ^ device();
  const std::string path = options_.data_dir + "/backup." + std::to_string(id);
  RAFTKV_RETURN_IF_ERROR(engine_->MakeCheckpoint(path));
  const Status status = BackupCheckpoint(path, id, [&](std::string_view piece) -> Status {
    return stopping_ ? store::ErrStopped() : write(piece);
  });
  const Status removed = store::RemoveTree(path);
  if (!removed.ok()) spdlog::error("{}", removed.message());
  return status;
}

}  // namespace raftkv::server
