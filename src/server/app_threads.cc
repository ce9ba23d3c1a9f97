// The composition root's second half: the threads of a node, and what they have to do with each
// other.

#include <spdlog/spdlog.h>

#include <map>
#include <random>

#include "server/app.h"
#include "server/marker_file.h"
#include "server/peer_hash.h"
#include "server/snapshot_store.h"
#include "store/engine_files.h"
#include "store/kv_errors.h"
#include "store/snapshot_file.h"
#include "store/snapshot_source.h"

namespace raftkv::server {
namespace {

constexpr size_t kReaderThreads = 2;

Status BackupCheckpoint(const std::string& path, uint64_t id,
                        const std::function<Status(std::string_view)>& write) {
  store::EngineOptions options;
  options.path = path;
  options.block_cache_bytes = 8 << 20;  // it is read once, in order
  // The log was written to while its file was linked: see snapshot_store.cc.
  options.wal_recovery = store::WalRecovery::kTornTail;
  RAFTKV_ASSIGN_OR_RETURN(auto checkpoint, store::Engine::OpenReadOnly(options));
  RAFTKV_ASSIGN_OR_RETURN(const wal::RecoveredLog log, wal::LogStore(checkpoint.get()).Recover());
  RAFTKV_ASSIGN_OR_RETURN(const auto source,
                          store::SnapshotSource::Open(std::move(checkpoint), log.membership, id));
  return store::WriteSnapshotFile(source.get(), write);
}

}  // namespace

void App::StartThreads() {
  apply_loop_ = std::make_unique<store::ApplyLoop>(
      kv_store_.get(), store::ApplyLoopOptions{},
      [this](Index applied, uint64_t microseconds) { OnApplied(applied, microseconds); });
  transport_ =
      std::make_unique<Transport>(options_.cluster_id, options_.id, options_.initial_cluster,
                                  options_.initial_advertise_peer_urls[0].ToString(),
                                  [this](const std::string& reason) { OnRemoved(reason); });
  readers_ = std::make_unique<ReaderPool>(kReaderThreads);
  background_ = std::make_unique<ReaderPool>(1);
  StartRaftLoop();
  StartSnapshotSender();
  log_writer_ = std::make_unique<wal::LogWriter>(
      engine_.get(), log_store_.get(),
      [this](std::span<raft::AppendTask> tasks) {
        // The promises go out from here: a turn of the raft thread would only delay them.
        for (const raft::AppendTask& task : tasks) transport_->Send(task.after_sync);
        raft_loop_->OnAppended(tasks.back().seq);
      },
      [this](uint64_t microseconds) { metrics_.ObserveSync(microseconds); });
  raft_loop_->SetLogWriter(log_writer_.get());
  backend_ = std::make_unique<Backend>(options_, engine_.get(), kv_store_.get(), apply_loop_.get(),
                                       raft_loop_.get(), readers_.get(), background_.get(),
                                       recovered_.membership);
  backend_->RefreshAlarms();
  StartMaintenance();
}

// Made here and started last.
void App::StartRaftLoop() {
  raft::Options raft_options;
  raft_options.id = options_.id;
  raft_options.heartbeat_ticks = 1;
  raft_options.election_ticks = options_.election_timeout_ms / options_.heartbeat_interval_ms;
  raft::PersistentState state;
  state.hard_state = recovered_.hard_state;
  state.membership = recovered_.membership;
  state.configs = recovered_.configs;
  state.first = recovered_.first;
  state.last = recovered_.last;
  state.before_first = recovered_.before_first;
  state.terms = recovered_.terms;
  state.applied = kv_store_->applied().position;
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

void App::StartMaintenance() {
  MaintenanceOptions options;
  options.flush = {options_.replay_entries_max, options_.replay_bytes_max};
  options.log_tail_entries = options_.snapshot_catchup_entries;
  options.free_space_reserve_bytes = options_.free_space_reserve_bytes;
  options.replica_check_every = std::chrono::seconds(options_.corrupt_check_time_s);
  MaintenanceHooks hooks;
  hooks.applied = [this] { return kv_store_->applied().position.index; };
  hooks.durable_applied = [this]() -> StatusOr<Index> {
    RAFTKV_ASSIGN_OR_RETURN(const store::AppliedRecord durable, kv_store_->DurableApplied());
    return durable.position.index;
  };
  hooks.bytes_applied = [this] { return raft_loop_->bytes_applied(); };
  hooks.log_first = [this] { return raft_loop_->status().first; };
  hooks.flush = [this] { return engine_->FlushKv(); };
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
  hooks.leads = [this] { return raft_loop_->status().role == raft::Role::kLeader; };
  hooks.check_replicas = [this] { background_->Post([this] { CompareReplicas(); }); };
  hooks.refresh = [this] { backend_->RefreshAlarms(); };
  maintenance_ = std::make_unique<Maintenance>(options, std::move(hooks));
}

void App::OnApplied(Index applied, uint64_t microseconds) {
  metrics_.ObserveApply(microseconds);
  raft_loop_->OnApplied(applied);
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
  return cluster;
}

AdminHooks App::MakeAdminHooks() {
  AdminHooks hooks;
  hooks.defragment = [this] {
    if (defragmenting_.exchange(true)) return;
    background_->Post([this] {
      Defragment();
      defragmenting_ = false;
    });
  };
  hooks.backup = [this](const std::function<Status(std::string_view)>& write) {
    return Backup(write);
  };
  return hooks;
}

// --- Long work, on the background thread ------------------------------------------------------

// Rewrites the applied state piece by piece, so that neither the disk nor a stop waits for the
// whole of it. A piece ends where a table of the lowest level does.
void App::Defragment() {
  const uint64_t before = engine_->DiskBytes();
  const store::FamilyHandle kv = engine_->kv();
  const Status flushed = engine_->FlushKv();
  if (!flushed.ok()) spdlog::error("{}", flushed.message());
  rocksdb::ColumnFamilyMetaData data;
  engine_->db()->GetColumnFamilyMetaData(kv.get(), &data);
  std::map<std::string, uint64_t> pieces;  // by their last key: bytes
  for (const rocksdb::LevelMetaData& level : data.levels) {
    if (level.level == 0 || level.files.empty()) continue;
    pieces.clear();
    for (const rocksdb::SstFileMetaData& file : level.files) pieces[file.largestkey] = file.size;
  }
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  const auto begin = std::chrono::steady_clock::now();
  uint64_t rewritten = 0;
  std::string from;
  const auto compact = [&](const rocksdb::Slice* first, const rocksdb::Slice* last) {
    const rocksdb::Status status = engine_->db()->CompactRange(options, kv.get(), first, last);
    if (!status.ok()) spdlog::warn("defragmentation stopped: {}", status.ToString());
    return status.ok();
  };
  for (const auto& [to, bytes] : pieces) {
    const rocksdb::Slice first(from);
    const rocksdb::Slice last(to);
    if (stopping_ || !compact(from.empty() ? nullptr : &first, &last)) return;
    from = to;
    rewritten += bytes;
    if (options_.defrag_rate_bytes == 0) continue;
    const auto due =
        begin + std::chrono::milliseconds(rewritten * 1000 / options_.defrag_rate_bytes);
    while (!stopping_ && std::chrono::steady_clock::now() < due) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  const rocksdb::Slice first(from);
  if (stopping_ || !compact(from.empty() ? nullptr : &first, nullptr)) return;
  spdlog::info("defragmented pieces={} disk_bytes={}..{}", pieces.size() + 1, before,
               engine_->DiskBytes());
}

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

void App::CompareReplicas() {
  const std::shared_ptr<const Membership> membership = raft_loop_->status().membership;
  const StatusOr<store::KvStore::Hash> own =
      kv_store_->HashAt(0, [this] { return stopping_.load(); });
  if (!own.ok()) {
    spdlog::warn("the comparison of members was not made: {}", own.status().message());
    return;
  }
  std::map<NodeId, uint32_t> hashes{{options_.id, own->hash}};
  for (const NodeId id : membership->All()) {
    if (id == options_.id || stopping_) continue;
    HashKvQuestion question;
    question.cluster = options_.cluster_id;
    question.from = options_.id;
    question.to = id;
    const std::optional<Url> url = transport_->AddressOf(id);
    if (!url) continue;
    question.url = *url;
    question.revision = static_cast<uint64_t>(own->revision);
    // Followers apply what the leader has only now applied itself within moments; one that is
    // further behind is compared next time.
    const StatusOr<HashKvAnswer> answer = AskHashKv(question);
    if (answer.ok()) {
      hashes[id] = static_cast<uint32_t>(answer->hash);
    } else {
      spdlog::warn("member={:x} was not compared: {}", id.value(), answer.status().message());
    }
  }
  if (stopping_ || raft_loop_->status().role != raft::Role::kLeader) return;
  const std::set<NodeId> corrupt = CorruptMembers(hashes, options_.id);
  spdlog::info("compared members={} revision={} corrupt={}", hashes.size(), own->revision,
               corrupt.size());
  for (const NodeId id : corrupt) {
    spdlog::error("member={:x} has other data than the others at revision={}: raising CORRUPT",
                  id.value(), own->revision);
    backend_->ProposeAlarm(id, etcdserverpb::CORRUPT, /*raise=*/true);
  }
}

}  // namespace raftkv::server
