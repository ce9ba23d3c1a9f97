#include "server/app.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>
#include <random>

#include "server/marker_file.h"
#include "wal/manifest_check.h"
#include "wal/wal_scanner.h"

namespace raftkv::server {
namespace {

namespace fs = std::filesystem;

// How long a clean stop waits for each of its steps.
constexpr auto kDrainTimeout = std::chrono::seconds(5);

constexpr size_t kReaderThreads = 2;

Status MakeDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    return {Code::kIoError, "can't make the data directory " + path + ": " + error.message() +
                                "; choose a --data-dir this user may write"};
  }
  // Keys and values are nobody else's business.
  chmod(path.c_str(), 0700);
  return Status::Ok();
}

store::EngineOptions MakeEngineOptions(const ServerOptions& options) {
  store::EngineOptions engine;
  engine.path = options.data_dir + "/db";
  engine.block_cache_bytes = options.block_cache_bytes;
  engine.kv_memtable_bytes = options.memtable_bytes;
  return engine;
}

}  // namespace

App::App(ServerOptions options) : options_(std::move(options)) {}

App::~App() {
  if (!stopped_) (void)Stop();
}

Status App::Start() {
  RAFTKV_RETURN_IF_ERROR(OpenDirectory());
  RAFTKV_RETURN_IF_ERROR(CheckIdentity());
  RAFTKV_RETURN_IF_ERROR(Recover());
  StartThreads();
  RAFTKV_RETURN_IF_ERROR(StartServers());
  raft_loop_->Start();
  spdlog::info("serving client={} http={} peer={}", options_.listen_client_urls[0].ToString(),
               options_.listen_http_urls[0].ToString(), options_.listen_peer_urls[0].ToString());
  return Status::Ok();
}

// --- Disk -------------------------------------------------------------------------------------

Status App::OpenDirectory() {
  RAFTKV_RETURN_IF_ERROR(MakeDirectory(options_.data_dir));
  RAFTKV_ASSIGN_OR_RETURN(lock_, store::DirectoryLock::Acquire(options_.data_dir));
  store::EngineOptions engine = MakeEngineOptions(options_);
  // Only a directory that never held a node is bootstrapped. The marker outlives a deleted
  // database: a node that lost its log must not come back as an empty one with the same vote.
  const std::string marker = options_.data_dir + "/member";
  if (!fs::exists(engine.path)) {
    if (fs::exists(marker)) {
      return {
          Code::kCorruption,
          options_.data_dir +
              " belonged to a node, but its database (db) is gone; restore it "
              "from a copy. Starting empty under the same identity could lose acknowledged writes"};
    }
    store::NodeIdentity identity;
    identity.cluster = options_.cluster_id;
    identity.node = options_.id;
    identity.node_name = options_.name;
    raft::Membership membership;
    for (const MemberOptions& member : options_.initial_cluster)
      membership.voters.insert(member.id);
    RAFTKV_RETURN_IF_ERROR(
        store::Engine::Bootstrap(engine, identity, wal::LogStore::BootstrapRecords(membership)));
    spdlog::info("bootstrapped dir={} cluster={:x} node={:x}", options_.data_dir,
                 options_.cluster_id.value(), options_.id.value());
  }
  // RocksDB takes some damage in either for an honest end and opens an older state (durability.md).
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(engine.path));
  RAFTKV_ASSIGN_OR_RETURN(const wal::WalScan scan, wal::ScanWalFiles(engine.path));
  if (scan.recovery == store::WalRecovery::kTornTail) {
    spdlog::warn(
        "a crash cut off a write in {} at offset {}: {} bytes dropped, none of them was "
        "acknowledged",
        scan.torn_file, scan.torn_offset, scan.torn_bytes);
  }
  engine.wal_recovery = scan.recovery;
  RAFTKV_ASSIGN_OR_RETURN(engine_, store::Engine::Open(engine));
  return WriteMarkerFile(marker, engine_->identity().node_name + "\n");
}

Status App::CheckIdentity() const {
  const store::NodeIdentity& found = engine_->identity();
  if (found.node == options_.id && found.cluster == options_.cluster_id) return Status::Ok();
  // Ids follow from the token too, so another cluster's node of the same name has another id.
  const bool same_node = found.node == options_.id || found.node_name == options_.name;
  return {Code::kFailedPrecondition,
          options_.data_dir + " belongs to " +
              (same_node ? "another cluster" : "node '" + found.node_name + "'") +
              ", not to node '" + options_.name +
              "' of this cluster; check --name, "
              "--initial-cluster, --initial-cluster-token and --data-dir"};
}

Status App::Recover() {
  log_store_ = std::make_unique<wal::LogStore>(engine_.get());
  RAFTKV_ASSIGN_OR_RETURN(recovered_, log_store_->Recover());
  store::KvStoreOptions kv_options;
  kv_options.sessions_max = options_.max_sessions;
  kv_options.session_ttl_ms = options_.session_ttl_ms;
  RAFTKV_ASSIGN_OR_RETURN(kv_store_, store::KvStore::Open(engine_.get(), kv_options));
  const LogPosition applied = kv_store_->applied().position;
  const std::string advice =
      "; restore this node from a copy, or remove its data and let it join again as a new member";
  if (applied.index > recovered_.last) {
    return {Code::kCorruption, "the applied state is at index " +
                                   std::to_string(applied.index.value()) + " but the log ends at " +
                                   std::to_string(recovered_.last.value()) + advice};
  }
  if (applied.index + 1 < recovered_.first) {
    return {Code::kCorruption,
            "the log begins at index " + std::to_string(recovered_.first.value()) +
                " but the applied state ends at " + std::to_string(applied.index.value()) + advice};
  }
  if (!applied.index.none() && applied.index >= recovered_.first) {
    std::vector<Entry> entry;
    RAFTKV_RETURN_IF_ERROR(log_store_->Read(applied.index, applied.index, 1, &entry));
    if (entry.at(0).term != applied.term) {
      return {Code::kCorruption, "the applied state and the log disagree on the term of index " +
                                     std::to_string(applied.index.value()) + advice};
    }
  }
  replay_from_ = applied.index;
  replay_to_ = std::max(applied.index, std::min(recovered_.hard_state.commit, recovered_.last));
  replay_start_ = RaftLoop::Clock::now();
  spdlog::info("recovered term={} log={}..{} applied={} revision={} replay={}",
               recovered_.hard_state.term.value(), recovered_.first.value(),
               recovered_.last.value(), applied.index.value(), kv_store_->revision(),
               replay_to_ - replay_from_);
  metrics_.SetReplay(replay_to_ - replay_from_, 0);
  return Status::Ok();
}

// --- Threads ----------------------------------------------------------------------------------

void App::StartThreads() {
  apply_loop_ = std::make_unique<store::ApplyLoop>(
      kv_store_.get(), store::ApplyLoopOptions{},
      [this](Index applied, uint64_t microseconds) { OnApplied(applied, microseconds); });
  transport_ =
      std::make_unique<Transport>(options_.cluster_id, options_.id, options_.initial_cluster);
  readers_ = std::make_unique<ReaderPool>(kReaderThreads);

  raft::Options raft_options;
  raft_options.id = options_.id;
  raft_options.heartbeat_ticks = 1;
  raft_options.election_ticks = options_.election_timeout_ms / options_.heartbeat_interval_ms;
  raft::PersistentState state;
  state.hard_state = recovered_.hard_state;
  state.membership = recovered_.membership;
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
  raft_loop_ =
      std::make_unique<RaftLoop>(loop, std::move(core), transport_.get(), apply_loop_.get(),
                                 [this](const raft::RoleChange& change) { OnRoleChange(change); });
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
                                       raft_loop_.get(), readers_.get());
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
}

// --- Edges ------------------------------------------------------------------------------------

Status App::StartPeerServer() {
  std::set<NodeId> members;
  for (const MemberOptions& member : options_.initial_cluster) members.insert(member.id);
  peer_service_ = std::make_unique<PeerService>(options_.cluster_id, options_.id, members,
                                                [this](NodeId from, peer::v1::FrameBatch&& batch) {
                                                  raft_loop_->OnPeerBatch(from, std::move(batch));
                                                });
  grpc::ServerBuilder builder;
  SetServerArguments(&builder);
  builder.SetMaxReceiveMessageSize(-1);
  std::vector<int> bound;
  AddPorts(&builder, options_.listen_peer_urls, &bound);
  builder.RegisterService(peer_service_.get());
  peer_server_ = builder.BuildAndStart();
  RAFTKV_RETURN_IF_ERROR(CheckPorts(options_.listen_peer_urls, bound));
  if (peer_server_ == nullptr) return {Code::kInternal, "can't start the peer server"};
  return Status::Ok();
}

Status App::StartServers() {
  RAFTKV_RETURN_IF_ERROR(StartPeerServer());
  RAFTKV_ASSIGN_OR_RETURN(client_api_, ClientApi::Start(options_, backend_.get()));
  serving_ = client_api_.get();
  RAFTKV_ASSIGN_OR_RETURN(
      http_api_, HttpApi::Start(options_, backend_.get(), [this] {
        return metrics_.Text({engine_.get(), kv_store_.get(), apply_loop_.get(), log_writer_.get(),
                              raft_loop_.get(), readers_.get()});
      }));
  return Status::Ok();
}

// --- Stop -------------------------------------------------------------------------------------

void App::HandLeadershipOn() {
  if (options_.initial_cluster.size() == 1 || raft_loop_->status().role != raft::Role::kLeader) {
    return;
  }
  auto moved = std::make_shared<std::promise<Status>>();
  raft_loop_->TransferLeadership(NodeId(), [moved](Status status) { moved->set_value(status); });
  std::future<Status> future = moved->get_future();
  if (future.wait_for(kDrainTimeout) != std::future_status::ready) return;
  const Status status = future.get();
  spdlog::info("handed leadership on: {}", status.ToString());
}

Status App::Stop() {
  if (std::exchange(stopped_, true)) return Status::Ok();
  const auto deadline = std::chrono::system_clock::now() + kDrainTimeout;
  if (client_api_) client_api_->SetServing(false);
  if (raft_loop_ && client_api_) HandLeadershipOn();
  if (http_api_) http_api_->Stop();
  if (client_api_) client_api_->Shutdown(deadline);
  // From here on nothing new comes in. The raft loop first: it feeds the others.
  serving_ = nullptr;
  if (raft_loop_) raft_loop_->Stop();
  if (log_writer_) log_writer_->Stop();
  if (apply_loop_) apply_loop_->Stop();
  if (readers_) readers_->Stop();
  if (client_api_) client_api_->Join();
  if (transport_) transport_->Stop();
  if (peer_server_) peer_server_->Shutdown(std::chrono::system_clock::now());
  // Flushed, so that the next start replays nothing.
  Status flushed = engine_ && kv_store_ ? engine_->FlushAll() : Status::Ok();
  http_api_.reset();
  client_api_.reset();
  peer_server_.reset();
  peer_service_.reset();
  backend_.reset();
  log_writer_.reset();
  raft_loop_.reset();
  readers_.reset();
  transport_.reset();
  apply_loop_.reset();
  kv_store_.reset();
  log_store_.reset();
  engine_.reset();
  lock_.reset();
  return flushed;
}

}  // namespace raftkv::server
