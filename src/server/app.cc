#include "server/app.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>

#include "server/foreign_directory.h"
#include "server/marker_file.h"
#include "store/engine_files.h"
#include "wal/manifest_check.h"
#include "wal/wal_scanner.h"

namespace raftkv::server {
namespace {

namespace fs = std::filesystem;

// How long a clean stop waits for each of its steps.
constexpr auto kDrainTimeout = std::chrono::seconds(5);

// How long a node that joins asks the members of the cluster who it is.
constexpr auto kJoinTimeout = std::chrono::seconds(30);

Status MakeDirectory(const std::string& path) {
  std::error_code error;
  // Those that are missing, the innermost first. A directory is there after a power failure only if
  // the one that it is in was synced; else this node, its promises forgotten, would start anew.
  std::vector<fs::path> missing;
  for (fs::path at = fs::absolute(path, error); !fs::exists(at, error); at = at.parent_path()) {
    missing.push_back(at);
  }
  fs::create_directories(path, error);
  if (error) {
    return {Code::kIoError, "can't make the data directory " + path + ": " + error.message() +
                                "; choose a --data-dir this user may write"};
  }
  for (const fs::path& made : missing) {
    RAFTKV_RETURN_IF_ERROR(store::SyncDirectory(made.parent_path()));
  }
  // Keys and values are nobody else's business.
  chmod(path.c_str(), 0700);
  return Status::Ok();
}

double SecondsSince(RaftLoop::Clock::time_point begin) {
  return std::chrono::duration<double>(RaftLoop::Clock::now() - begin).count();
}

store::EngineOptions MakeEngineOptions(const ServerOptions& options) {
  store::EngineOptions engine;
  engine.path = options.data_dir + "/db";
  engine.block_cache_bytes = options.block_cache_bytes;
  engine.kv_memtable_bytes = options.memtable_bytes;
  engine.wal_bytes_max = options.wal_bytes_max;
  return engine;
}

// The names that this program, and RocksDB while it makes one (.tmp), give to checkpoints. What an
// operator keeps here under another name, or as a file, is not ours.
bool IsCheckpoint(std::string_view name) {
  constexpr std::string_view kBackup = "backup.";
  if (name.ends_with(".tmp")) name.remove_suffix(4);
  if (name == "snapshot.out") return true;
  if (!name.starts_with(kBackup)) return false;
  name.remove_prefix(kBackup.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

App::App(ServerOptions options, std::function<void()> on_end)
    : options_(std::move(options)), on_end_(std::move(on_end)) {}

App::~App() {
  if (!stopped_) (void)Stop();
}

Status App::Start() {
  RAFTKV_RETURN_IF_ERROR(OpenDirectory());
  RAFTKV_RETURN_IF_ERROR(CheckIdentity());
  RAFTKV_RETURN_IF_ERROR(Recover());
  StartThreads();
  RAFTKV_RETURN_IF_ERROR(StartServers());
  raft_loop_->Start(event_loop_.get());
  maintenance_->Start();
  spdlog::info("serving client={} http={} peer={}", options_.listen_client_urls[0].ToString(),
               options_.listen_http_urls[0].ToString(), options_.listen_peer_urls[0].ToString());
  return Status::Ok();
}

// --- Disk -------------------------------------------------------------------------------------

// A new member of a new cluster knows who it is from its flags; one that joins asks the others.
Status App::BootstrapDirectory(const store::EngineOptions& engine) const {
  store::NodeIdentity identity;
  identity.cluster = options_.cluster_id;
  identity.node = options_.id;
  identity.node_name = options_.name;
  Membership membership;
  if (options_.join_existing) {
    std::vector<Url> others;
    for (const MemberOptions& member : options_.initial_cluster) {
      if (member.name != options_.name) others.push_back(member.peer_url);
    }
    spdlog::info("joining a cluster: asking {} of its members who this node is", others.size());
    RAFTKV_ASSIGN_OR_RETURN(const JoinedCluster cluster,
                            AskToJoin(others, options_.initial_advertise_peer_urls, kJoinTimeout));
    identity.cluster = cluster.cluster;
    identity.node = cluster.self;
    // No members: it never campaigns, and learns of the others from the leader's log or snapshot.
  } else {
    for (const MemberOptions& member : options_.initial_cluster) {
      membership.voters.insert(member.id);
      membership.info[member.id].peer_urls = {member.peer_url.ToString()};
    }
  }
  RAFTKV_RETURN_IF_ERROR(
      store::Engine::Bootstrap(engine, identity, wal::LogStore::BootstrapRecords(membership)));
  spdlog::info("bootstrapped dir={} cluster={:x} node={:x}", options_.data_dir,
               identity.cluster.value(), identity.node.value());
  return Status::Ok();
}

Status App::OpenDirectory() {
  RAFTKV_RETURN_IF_ERROR(CheckNotForeign(options_.data_dir));
  RAFTKV_RETURN_IF_ERROR(MakeDirectory(options_.data_dir));
  RAFTKV_ASSIGN_OR_RETURN(lock_, store::DirectoryLock::Acquire(options_.data_dir));
  if (fs::exists(options_.data_dir + "/" + kRemovedMarker)) {
    return {Code::kFailedPrecondition,
            options_.data_dir +
                " belongs to a member that was removed from its cluster and can't come back; to "
                "join again, remove the directory, run raftkvctl member add and start with "
                "--initial-cluster-state existing"};
  }
  store::EngineOptions engine = MakeEngineOptions(options_);
  // Only a directory that never held a node is bootstrapped. The marker outlives a deleted
  // database: a node that lost its log must not come back as an empty one with the same vote.
  const std::string marker = options_.data_dir + "/" + kMemberMarker;
  if (!fs::exists(engine.path)) {
    if (fs::exists(marker)) {
      return {
          Code::kCorruption,
          options_.data_dir +
              " belonged to a node, but its database (db) is gone; restore it "
              "from a copy. Starting empty under the same identity could lose acknowledged writes"};
    }
    RAFTKV_RETURN_IF_ERROR(BootstrapDirectory(engine));
  }
  // What an earlier process did not get to remove.
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(options_.data_dir, ignored)) {
    if (entry.is_directory(ignored) && IsCheckpoint(entry.path().filename().native())) {
      RAFTKV_RETURN_IF_ERROR(store::RemoveTree(entry.path()));
    }
  }
  // RocksDB takes some damage in either for an honest end and opens an older state (durability.md).
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(engine.path));
  const auto begin = RaftLoop::Clock::now();
  RAFTKV_ASSIGN_OR_RETURN(const wal::WalScan scan, wal::ScanWalFiles(engine.path));
  const double scan_seconds = SecondsSince(begin);
  engine.wal_recovery = scan.recovery;
  if (scan.recovery == store::WalRecovery::kTornTail) {
    RAFTKV_RETURN_IF_ERROR(CheckBeforeDropping(engine));
    spdlog::warn("a crash cut off a write in {} at offset {}: {} bytes dropped", scan.torn_file,
                 scan.torn_offset, scan.torn_bytes);
  }
  RAFTKV_ASSIGN_OR_RETURN(engine_, store::Engine::Open(engine));
  uint64_t wal_bytes = 0;
  for (const wal::WalFileReport& file : scan.files) wal_bytes += file.bytes;
  spdlog::info("opened wal_bytes={} scan_seconds={:.3f} open_seconds={:.3f}", wal_bytes,
               scan_seconds, SecondsSince(begin) - scan_seconds);
  return WriteMarkerFile(marker, engine_->identity().node_name + "\n");
}

Status App::CheckIdentity() {
  const store::NodeIdentity& found = engine_->identity();
  if (options_.join_existing && found.node_name == options_.name) {
    // The cluster gave this node its id, and may have had other members when it was made.
    options_.id = found.node;
    options_.cluster_id = found.cluster;
    return Status::Ok();
  }
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

// Opening the database drops a write that was cut off, for good. So what makes a start refuse is
// looked for before, in memory: nothing is lost of what may have to be looked at. It means reading
// the WAL twice, which is rare: few crashes cut off a write.
Status App::CheckBeforeDropping(const store::EngineOptions& engine) {
  RAFTKV_ASSIGN_OR_RETURN(engine_, store::Engine::OpenReadOnly(engine));
  Status status = CheckIdentity();
  if (status.ok()) status = Verify().status();
  kv_store_.reset();
  log_store_.reset();
  engine_.reset();
  return status;
}

// Changes nothing.
StatusOr<wal::StartVerdict> App::Verify() {
  log_store_ = std::make_unique<wal::LogStore>(engine_.get());
  RAFTKV_ASSIGN_OR_RETURN(recovered_, log_store_->Recover());
  RAFTKV_ASSIGN_OR_RETURN(const std::optional<wal::FenceRecord> fence,
                          wal::Fence::Read(options_.data_dir + "/" + wal::kFenceFile,
                                           options_.cluster_id, options_.id));
  RAFTKV_ASSIGN_OR_RETURN(wal::StartVerdict verdict,
                          wal::CheckStart(recovered_, fence, options_.id, options_.data_dir));
  RAFTKV_ASSIGN_OR_RETURN(kv_store_, store::KvStore::Open(engine_.get()));
  RAFTKV_RETURN_IF_ERROR(log_store_->CheckApplied(kv_store_->applied().position, recovered_));
  return verdict;
}

Status App::Recover() {
  const auto begin = RaftLoop::Clock::now();
  RAFTKV_ASSIGN_OR_RETURN(const wal::StartVerdict verdict, Verify());
  RAFTKV_RETURN_IF_ERROR(KeepPromises(verdict));
  const LogPosition applied = kv_store_->applied().position;
  replay_from_ = applied.index;
  replay_to_ = std::max(applied.index, std::min(recovered_.hard_state.commit, recovered_.last));
  replay_start_ = RaftLoop::Clock::now();
  spdlog::info(
      "recovered term={} log={}..{} log_bytes={} applied={} revision={} verify_seconds={:.3f} "
      "replay={}",
      recovered_.hard_state.term.value(), recovered_.first.value(), recovered_.last.value(),
      recovered_.bytes, applied.index.value(), kv_store_->revision(), SecondsSince(begin),
      replay_to_ - replay_from_);
  metrics_.SetReplay(replay_to_ - replay_from_, 0);
  return Status::Ok();
}

// Begins a new run under what this node has promised, as far as that is remembered outside the
// database.
Status App::KeepPromises(const wal::StartVerdict& verdict) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  RAFTKV_ASSIGN_OR_RETURN(
      fence_,
      wal::Fence::Open(options_.data_dir + "/" + wal::kFenceFile, options_.cluster_id, options_.id,
                       std::chrono::duration_cast<std::chrono::microseconds>(now).count(),
                       wal::EndOf(recovered_)));
  if (verdict.forgot_vote) {
    spdlog::warn("the database forgot a vote: it is in term {}, this node was in term {}",
                 recovered_.hard_state.term.value(), verdict.hard_state.term.value());
    recovered_.hard_state = verdict.hard_state;
    RAFTKV_RETURN_IF_ERROR(log_store_->RestoreHardState(verdict.hard_state));
  }
  if (!verdict.lost.empty()) {
    spdlog::error(
        "{}. It fetches what is missing from the other members, and does not stand for election "
        "until it is whole",
        verdict.lost);
  }
  return Status::Ok();
}

// --- Edges ------------------------------------------------------------------------------------

Status App::StartPeerServer() {
  RAFTKV_RETURN_IF_ERROR(StartSnapshotReceiver());
  PeerHandlers handlers;
  handlers.snapshots = snapshot_receiver_.get();
  handlers.on_batch = [this](NodeId from, peer::v1::FrameBatch&& batch) {
    raft_loop_->OnPeerBatch(from, std::move(batch));
  };
  // It reads what members have published about themselves.
  handlers.members = [this](const PeerHandlers::MembersDone& done) {
    readers_->Post([this, done] { done(KnownCluster()); });
  };
  handlers.hash_kv = [this](uint64_t revision, const PeerHandlers::HashKvDone& done) {
    backend_->HashKv(static_cast<int64_t>(revision),
                     [this, done](Status status, store::KvStore::Hash&& hash) {
                       if (!status.ok()) {
                         done(std::move(status));
                         return;
                       }
                       HashKvAnswer answer;
                       answer.hash = hash.hash;
                       answer.revision = static_cast<uint64_t>(hash.revision);
                       answer.compact_revision = static_cast<uint64_t>(hash.compact_revision);
                       answer.applied = kv_store_->applied().position.index;
                       done(answer);
                     });
  };
  handlers.on_contact = [this](NodeId from, const std::string& url) {
    transport_->AddContact(from, url);
  };
  peer_service_ =
      std::make_unique<PeerService>(options_.cluster_id, options_.id, std::move(handlers));
  return peer_service_->Listen(options_.listen_peer_urls, event_loop_.get());
}

Status App::StartServers() {
  RAFTKV_RETURN_IF_ERROR(StartPeerServer());
  RAFTKV_ASSIGN_OR_RETURN(
      client_api_, ClientApi::Start(options_, backend_.get(), MakeAdminHooks(), event_loop_.get()));
  peer_service_->Accept();
  event_loop_->Start();
  serving_ = client_api_.get();
  RAFTKV_ASSIGN_OR_RETURN(
      http_api_, HttpApi::Start(options_, backend_.get(), [this] {
        return metrics_.Text({engine_.get(), kv_store_.get(), apply_loop_.get(), log_writer_.get(),
                              raft_loop_.get(), readers_.get(), maintenance_.get(),
                              replica_check_.get(), snapshot_sender_.get(),
                              snapshot_receiver_.get()});
      }));
  return Status::Ok();
}

// --- Stop -------------------------------------------------------------------------------------

void App::HandLeadershipOn() {
  const RaftStatus raft = raft_loop_->status();
  if (raft.role != raft::Role::kLeader || raft.membership->voters.size() < 2) return;
  auto moved = std::make_shared<std::promise<Status>>();
  raft_loop_->TransferLeadership(NodeId(), [moved](Status status) { moved->set_value(status); });
  std::future<Status> future = moved->get_future();
  if (future.wait_for(kDrainTimeout) != std::future_status::ready) return;
  spdlog::info("handed leadership on: {}", future.get().ToString());
}

Status App::Stop() {
  if (std::exchange(stopped_, true)) return Status::Ok();
  const auto deadline = std::chrono::system_clock::now() + kDrainTimeout;
  stopping_ = true;
  if (backend_) backend_->StopHashing();
  if (defragmenter_) defragmenter_->Stop();
  if (maintenance_) maintenance_->Stop();
  if (snapshot_receiver_) snapshot_receiver_->Stop();
  if (client_api_) client_api_->SetServing(false);
  if (raft_loop_ && client_api_) HandLeadershipOn();
  if (http_api_) http_api_->Stop(deadline);
  // A little for calls that came in while that took all of the time.
  if (client_api_) {
    client_api_->Shutdown(
        std::max(deadline, std::chrono::system_clock::now() + std::chrono::seconds(1)));
  }
  // From here on nothing new comes in. The raft loop first: it feeds the others.
  serving_ = nullptr;
  if (snapshot_sender_) snapshot_sender_->Stop();
  if (raft_loop_) raft_loop_->Stop();
  if (log_writer_) log_writer_->Stop();
  if (apply_loop_) apply_loop_->Stop();
  if (readers_) readers_->Stop();
  if (background_) background_->Stop();
  if (transport_) transport_->Stop();
  if (peer_service_) peer_service_->Shutdown();
  if (client_api_) client_api_->Join();
  if (event_loop_) event_loop_->Stop();
  // Flushed, so that the next start replays nothing.
  Status flushed = engine_ && kv_store_ ? engine_->FlushAll() : Status::Ok();
  http_api_.reset();
  client_api_.reset();
  peer_service_.reset();
  snapshot_receiver_.reset();
  snapshot_sender_.reset();
  maintenance_.reset();
  replica_check_.reset();
  session_limits_.reset();
  backend_.reset();
  log_writer_.reset();
  raft_loop_.reset();
  readers_.reset();
  background_.reset();
  defragmenter_.reset();
  transport_.reset();
  event_loop_.reset();
  apply_loop_.reset();
  kv_store_.reset();
  fence_.reset();
  log_store_.reset();
  engine_.reset();
  lock_.reset();
  return flushed;
}

}  // namespace raftkv::server
