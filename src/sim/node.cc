#include "sim/node.h"

#include <algorithm>
#include <utility>

#include "common/coding.h"
#include "common/crc32c.h"
#include "common/mutation.h"
#include "sim/seams.h"
#include "store/command.h"
#include "store/engine_files.h"
#include "store/kv_errors.h"
#include "store/kv_kinds.h"
#include "store/session_limits.h"
#include "store/snapshot_sink.h"
#include "store/snapshot_source.h"
#include "wal/manifest_check.h"
#include "wal/wal_scanner.h"

namespace raftkv::sim {
namespace {

constexpr char kDirectory[] = "/node";
constexpr char kSnapshotIn[] = "/node/snapshot.in";
constexpr char kSnapshotOut[] = "/node/snapshot.out";

constexpr ClusterId kCluster(1);

// Batches end at multiples of this, so that nodes can be compared at the same positions.
constexpr uint64_t kCompareEvery = 64;

int64_t RevisionOf(const store::ApplyResult& result) {
  return std::visit(
      [](const auto& response) -> int64_t {
        if constexpr (requires { response.header(); }) {
          return response.header().revision();
        } else {
          return 0;
        }
      },
      result.response);
}

// For Mutation::kSyncRetried. RocksDB does not write to a file any more whose sync failed once, so
// that whoever wants to try again must open it anew. The second sync is fine: its pages count as
// clean.
rocksdb::Status SyncWalAgain(rocksdb::Env* env) {
  const auto files = store::WalFiles(SimNode::kDatabase, env);
  if (!files.ok()) return rocksdb::Status::IOError(files.status().message());
  for (const store::WalFile& wal : *files) {
    std::unique_ptr<rocksdb::WritableFile> file;
    rocksdb::Status status = env->ReopenWritableFile(wal.path, &file, rocksdb::EnvOptions());
    if (status.ok()) status = file->Sync();
    if (!status.ok()) return status;
  }
  return rocksdb::Status::OK();
}

}  // namespace

SimNode::SimNode(NodeId id, const NodeOptions& options, uint64_t seed, NodeObserver* observer)
    : id_(id),
      options_(options),
      observer_(observer),
      rng_(seed),
      disk_(rng_.Next(), options.page_bytes),
      env_(&disk_, &clock_, rng_.Next(), options.wal_fill_bytes) {
  RAFTKV_CHECK(disk_.MakeDir(kDirectory) == DiskResult::kOk, "an empty disk has room");
  RAFTKV_CHECK(disk_.SyncDir("/") == DiskResult::kOk, "an empty disk works");
}

SimNode::~SimNode() {
  const SimEnv::Scope scope(&env_);
  disk_.Kill();
  process_.reset();
}

Status SimNode::CheckLogIsDurable(store::Engine* engine) const {
  const uint64_t from =
      engine->IntProperty(engine->raft_log(), rocksdb::DB::Properties::kMinLogNumberToKeep);
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<store::WalFile> files,
                          store::WalFiles(kDatabase, engine->db()->GetEnv()));
  for (const store::WalFile& file : files) {
    if (file.number < from || disk_.IsDurable(file.path)) continue;
    return {Code::kInternal, "what was synced is not on the platter: " + file.path};
  }
  return Status::Ok();
}

void SimNode::OrFail(const Status& status) {
  if (!status.ok()) throw DiskFailed(status.message());
}

// --- Start and crash --------------------------------------------------------------------------

// App::OpenDirectory, but for locks and marker files.
Status SimNode::OpenDirectory(Process* process, const Membership& bootstrap) {
  store::EngineOptions engine = options_.engine;
  engine.path = kDatabase;
  engine.env = &env_;
  if (Mutated(Mutation::kBootstrapAgain) && disk_.Find(kDatabase) != nullptr &&
      disk_.Find(std::string(kDatabase) + "/CURRENT") == nullptr) {
    RAFTKV_RETURN_IF_ERROR(store::RemoveTree(kDatabase, &env_));
    had_database_ = false;
  }
  if (!disk_.dead() && disk_.Find(kDatabase) == nullptr) {
    if (had_database_) return {Code::kCorruption, "the database is gone"};
    store::NodeIdentity identity;
    identity.cluster = kCluster;
    identity.node = id_;
    identity.node_name = "n" + std::to_string(id_.value());
    RAFTKV_RETURN_IF_ERROR(
        store::Engine::Bootstrap(engine, identity, wal::LogStore::BootstrapRecords(bootstrap)));
    had_database_ = true;
  }
  for (const char* leftover : {kSnapshotIn, kSnapshotOut}) {
    RAFTKV_RETURN_IF_ERROR(store::RemoveTree(leftover, &env_));
  }
  RAFTKV_RETURN_IF_ERROR(wal::CheckManifest(kDatabase, &env_));
  RAFTKV_ASSIGN_OR_RETURN(const wal::WalScan scan, wal::ScanWalFiles(kDatabase, &env_));
  engine.wal_recovery = scan.recovery;
  RAFTKV_ASSIGN_OR_RETURN(process->engine, store::Engine::Open(engine));
  return Status::Ok();
}

// App::Recover.
Status SimNode::Recover(Process* process) {
  process->log = std::make_unique<wal::LogStore>(process->engine.get());
  RAFTKV_ASSIGN_OR_RETURN(wal::RecoveredLog log, process->log->Recover());
  RAFTKV_ASSIGN_OR_RETURN(process->store, store::KvStore::Open(process->engine.get()));
  const LogPosition applied = process->store->applied().position;
  observer_->OnRecovered(*this, log, process->store->applied());
  RAFTKV_RETURN_IF_ERROR(KeepPromises(process, &log));
  RAFTKV_RETURN_IF_ERROR(process->log->CheckApplied(applied, log));
  raft::PersistentState state = wal::StartingState(log, applied);
  state.acknowledged = process->fence->found().acknowledged;
  raft::Options raft = options_.raft;
  raft.id = id_;
  raft.run = process->fence->run();
  process->core = std::make_unique<raft::Core>(raft, state, *process->log, Rng(rng_.Next()));
  return Status::Ok();
}

// App::KeepPromises, but for the refusal of a sole voter.
Status SimNode::KeepPromises(Process* process, wal::RecoveredLog* log) const {
  RAFTKV_ASSIGN_OR_RETURN(process->fence,
                          wal::Fence::Open(kFence, kCluster, id_, clock_.micros, wal::EndOf(*log),
                                           process->engine->db()->GetEnv()));
  const wal::FenceRecord& fence = process->fence->found();
  HardState& found = log->hard_state;
  const bool forgot_vote = fence.term == found.term && found.vote.none() && !fence.vote.none();
  if (fence.term > found.term || forgot_vote) {
    found = {fence.term, fence.vote, found.commit};
    raft::AppendTask task;
    task.hard_state = found;
    observer_->OnWriting(*this, {task});
    RAFTKV_RETURN_IF_ERROR(process->log->RestoreHardState(found));
    observer_->OnSynced(*this, CheckLogIsDurable(process->engine.get()));
  }
  return Status::Ok();
}

Status SimNode::Start(const Membership& bootstrap) {
  const SimEnv::Scope scope(&env_);
  auto process = std::make_unique<Process>();
  Status status = OpenDirectory(process.get(), bootstrap);
  if (status.ok()) status = Recover(process.get());
  if (!status.ok()) {
    // As when the process ends: nothing is written any more.
    disk_.Kill();
    process.reset();
    return status;
  }
  process_ = std::move(process);
  if (core().membership().voters.size() == 1 && core().membership().IsVoter(id_)) Campaign();
  return Status::Ok();
}

void SimNode::Crash(CrashKind kind) {
  const SimEnv::Scope scope(&env_);
  disk_.Kill();
  process_.reset();
  disk_.Restart(kind);
}

// --- The raft thread --------------------------------------------------------------------------

void SimNode::AfterInput() {
  core().CheckInvariants();
  observer_->AfterInput(*this);
  if (options_.lazy_output && rng_.Percent(30)) return;
  while (core().HasOutput()) CarryOut(process_->core->TakeOutput());
  observer_->AfterInput(*this);
}

void SimNode::Give(uint64_t request, Status status) {
  Answer answer;
  answer.request = request;
  answer.status = std::move(status);
  process_->answers.push_back(std::move(answer));
}

// RaftLoop::CarryOut.
void SimNode::CarryOut(raft::Output output) {
  observer_->OnOutput(*this, output);
  for (raft::Message& message : output.send) {
    observer_->OnSend(*this, message);
    process_->outbox.push_back(std::move(message));
  }
  if (output.append) process_->log_queue.push_back(*std::move(output.append));
  for (const LogPosition& position : output.dropped) {
    const auto it = process_->proposed.find(position.index);
    if (it == process_->proposed.end() || it->second.first != position.term) continue;
    Give(it->second.second, {Code::kDropped, "leader changed"});
    process_->proposed.erase(it);
  }
  if (output.install) {
    const raft::SnapshotMeta& snapshot = *output.install;
    while (!process_->proposed.empty() &&
           process_->proposed.begin()->first <= snapshot.last.index) {
      Give(process_->proposed.begin()->second.second, {Code::kOutcomeUnknown, "snapshot"});
      process_->proposed.erase(process_->proposed.begin());
    }
    process_->apply_queue.push_back(Switch{snapshot.id, snapshot.last.index});
  }
  if (output.apply) process_->apply_queue.push_back(std::move(output.apply->entries));
  for (const raft::ReadReady& ready : output.reads) {
    auto node = process_->reads.extract(ready.token);
    if (node.empty()) continue;
    for (Read& read : node.mapped()) process_->ready_reads.emplace(ready.index, std::move(read));
  }
  if (!output.reads.empty()) ServeReads(process_->store->applied().position.index);
  for (const raft::ReadToken token : output.failed_reads) {
    auto node = process_->reads.extract(token);
    if (node.empty()) continue;
    for (const Read& read : node.mapped()) Give(read.request, store::ErrTimeout());
  }
  for (const NodeId to : output.snapshots_wanted) process_->snapshots_wanted.push_back(to);
}

void SimNode::Tick() {
  const SimEnv::Scope scope(&env_);
  process_->core->Tick();
  AfterInput();
}

void SimNode::Step(raft::Message message) {
  const SimEnv::Scope scope(&env_);
  process_->core->Step(std::move(message));
  AfterInput();
}

void SimNode::Campaign() {
  const SimEnv::Scope scope(&env_);
  process_->core->Campaign();
  AfterInput();
}

Status SimNode::Write(uint64_t request, std::string command, uint64_t now_ms) {
  const SimEnv::Scope scope(&env_);
  if (core().role() != raft::Role::kLeader) return store::ErrNotLeader();
  store::StampCommandTime(&command, now_ms);
  const std::vector<Payload> payloads{std::make_shared<const std::string>(std::move(command))};
  const StatusOr<LogPosition> position = process_->core->Propose(payloads);
  if (!position.ok()) return position.status();
  // One of another term may be there still, its fate unknown.
  const auto before = process_->proposed.find(position->index);
  if (before != process_->proposed.end()) {
    Give(before->second.second, {Code::kOutcomeUnknown, "overwritten"});
  }
  process_->proposed[position->index] = {position->term, request};
  AfterInput();
  return Status::Ok();
}

Status SimNode::ReadKey(uint64_t request, std::string key) {
  const SimEnv::Scope scope(&env_);
  const StatusOr<raft::ReadToken> token = process_->core->ReadIndex();
  if (!token.ok()) return token.status();
  process_->reads[*token].push_back({request, std::move(key)});
  AfterInput();
  return Status::Ok();
}

Status SimNode::ChangeConfig(const Membership& target) {
  const SimEnv::Scope scope(&env_);
  const StatusOr<LogPosition> position = process_->core->ProposeConfig(target);
  if (!position.ok()) return position.status();
  AfterInput();
  return Status::Ok();
}

Status SimNode::TransferLeadership(NodeId to) {
  const SimEnv::Scope scope(&env_);
  const Status status = process_->core->TransferLeadership(to);
  if (status.ok()) AfterInput();
  return status;
}

// --- The log writer ---------------------------------------------------------------------------

bool SimNode::HasRemovalWork() const {
  return std::any_of(process_->log_queue.begin(), process_->log_queue.end(),
                     [](const raft::AppendTask& task) {
                       return task.install.has_value() || !task.truncate_from.none();
                     });
}

void SimNode::WriteLog() {
  const SimEnv::Scope scope(&env_);
  std::vector<raft::AppendTask> tasks(std::make_move_iterator(process_->log_queue.begin()),
                                      std::make_move_iterator(process_->log_queue.end()));
  process_->log_queue.clear();
  observer_->OnWriting(*this, tasks);
  rocksdb::WriteBatch batch;
  for (const raft::AppendTask& task : tasks) OrFail(process_->log->AddToBatch(task, &batch));
  const raft::AppendTask& newest = tasks.back();
  const HardState& now = process_->log->hard_state();
  OrFail(process_->fence->Cover(now.term, now.vote, newest.last, newest.owed));
  if (batch.Count() > 0) {
    rocksdb::WriteOptions write;
    write.sync = false;
    write.disableWAL = false;
    OrFail(store::FromRocksDb(process_->engine->db()->Write(write, &batch), "write"));
    rocksdb::Status synced = process_->engine->db()->SyncWAL();
    if (Mutated(Mutation::kSyncRetried) && !synced.ok() && !disk_.dead()) {
      synced = SyncWalAgain(&env_);
    }
    OrFail(store::FromRocksDb(synced, "sync"));
    OrFail(process_->fence->Note(newest.last));
    observer_->OnSynced(*this, CheckLogIsDurable(process_->engine.get()));
  }
  for (raft::AppendTask& task : tasks) {
    for (raft::Message& message : task.after_sync) {
      observer_->OnSend(*this, message);
      process_->outbox.push_back(std::move(message));
    }
  }
  process_->appended = tasks.back().seq;
}

void SimNode::DeleteLeftovers() {
  const SimEnv::Scope scope(&env_);
  if (process_->log->HasLeftovers()) OrFail(process_->log->DeleteLeftovers());
}

void SimNode::Report() {
  const SimEnv::Scope scope(&env_);
  if (const auto seq = std::exchange(process_->appended, std::nullopt)) {
    process_->core->OnAppended(*seq);
    AfterInput();
  }
  if (const auto applied = std::exchange(process_->applied_report, std::nullopt)) {
    process_->core->OnApplied(*applied);
    AfterInput();
  }
}

// --- The apply thread -------------------------------------------------------------------------

void SimNode::Apply() {
  const SimEnv::Scope scope(&env_);
  auto item = std::move(process_->apply_queue.front());
  process_->apply_queue.pop_front();
  if (const Switch* change = std::get_if<Switch>(&item)) {
    process_->store->SwitchTo(change->staged);
    RAFTKV_CHECK(process_->store->applied().position.index == change->index,
                 "the snapshot turned out to be of another index");
    observer_->OnInstalled(*this, process_->store->applied());
    process_->applied_report = change->index;
    ServeReads(change->index);
    return;
  }
  auto& entries = std::get<std::vector<Entry>>(item);
  size_t n = 1 + rng_.Below(entries.size());
  for (size_t i = 0; i < n; ++i) {
    if (entries[i].index.value() % kCompareEvery == 0) n = i + 1;
  }
  std::vector<Entry> batch(std::make_move_iterator(entries.begin()),
                           std::make_move_iterator(entries.begin() + static_cast<long>(n)));
  entries.erase(entries.begin(), entries.begin() + static_cast<long>(n));
  if (!entries.empty()) process_->apply_queue.push_front(std::move(entries));
  ApplyEntries(std::move(batch));
}

// ApplyLoop::ApplyPending and RaftLoop::CarryOutApply.
void SimNode::ApplyEntries(std::vector<Entry> entries) {
  std::vector<store::ApplyResult> results;
  std::vector<bool> awaited;
  for (const Entry& entry : entries) awaited.push_back(process_->proposed.contains(entry.index));
  process_->store->Apply(entries, awaited, &results);
  for (size_t i = 0; i < entries.size(); ++i) {
    observer_->OnApplied(*this, entries[i], results[i]);
    const auto it = process_->proposed.find(entries[i].index);
    if (it == process_->proposed.end()) continue;
    const auto [term, request] = it->second;
    process_->proposed.erase(it);
    if (term != entries[i].term) {
      Give(request, {Code::kOutcomeUnknown, "another entry took its place"});
      continue;
    }
    Answer answer;
    answer.request = request;
    answer.status = results[i].status;
    answer.revision = RevisionOf(results[i]);
    answer.repeated = results[i].from_session;
    if (const auto* txn = std::get_if<etcdserverpb::TxnResponse>(&results[i].response)) {
      answer.succeeded = txn->succeeded();
      const auto& read = txn->responses(0).response_range();
      if (read.kvs_size() > 0) answer.value = read.kvs(0).value();
    }
    process_->answers.push_back(std::move(answer));
  }
  const Index last = entries.back().index;
  process_->applied_report = last;
  const store::AppliedRecord applied = process_->store->applied();
  if (applied.compacted_to < applied.compact_revision) process_->store->CompactStep(10);
  ServeReads(last);
}

void SimNode::ServeReads(Index applied) {
  if (Mutated(Mutation::kReadBeforeApply)) applied = Index(UINT64_MAX);
  while (!process_->ready_reads.empty() && process_->ready_reads.begin()->first <= applied) {
    const Read read = process_->ready_reads.extract(process_->ready_reads.begin()).mapped();
    etcdserverpb::RangeRequest request;
    request.set_key(read.key);
    // As a node does.
    auto in_memory = process_->store->GetInMemory(request);
    StatusOr<etcdserverpb::RangeResponse> response =
        in_memory ? *std::move(in_memory) : process_->store->Range(request);
    OrFail(response.status());
    Answer answer;
    answer.request = read.request;
    answer.revision = response->header().revision();
    if (response->kvs_size() > 0) answer.value = response->kvs(0).value();
    process_->answers.push_back(std::move(answer));
  }
}

// --- Maintenance and snapshots ----------------------------------------------------------------

void SimNode::RunBackgroundWork() { env_.RunOne(); }

Status SimNode::ReadLog(Index from, Index to, std::vector<Entry>* out) const {
  const SimEnv::Scope scope(const_cast<SimEnv*>(&env_));
  return process_->log->Read(from, to, UINT64_MAX, out);
}

StatusOr<uint32_t> SimNode::HashRecords() const {
  const SimEnv::Scope scope(const_cast<SimEnv*>(&env_));
  rocksdb::ReadOptions read;
  read.total_order_seek = true;
  const std::unique_ptr<rocksdb::Iterator> it(
      process_->engine->db()->NewIterator(read, process_->engine->kv().get()));
  uint32_t crc = Crc32c(store::EncodeSessionLimits(process_->store->applied().session_limits));
  for (const char kind : {store::kConfigKind, store::kMemberKind, store::kSessionKind,
                          store::kAlarmKind, store::kSessionTimeKind}) {
    for (it->Seek(std::string(1, kind)); it->Valid() && it->key()[0] == kind; it->Next()) {
      for (const rocksdb::Slice& slice : {it->key(), it->value()}) {
        std::string size;
        AppendVarint(&size, slice.size());
        crc = ExtendCrc32c(ExtendCrc32c(crc, size), {slice.data(), slice.size()});
      }
    }
    // Of each: the next search forgets it.
    RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(it->status(), "reading the applied state"));
  }
  return crc;
}

void SimNode::FlushKv() {
  const SimEnv::Scope scope(&env_);
  OrFail(process_->engine->FlushKv());
}

void SimNode::CutLog() {
  const SimEnv::Scope scope(&env_);
  const StatusOr<store::AppliedRecord> durable = process_->store->DurableApplied();
  OrFail(durable.status());
  const uint64_t index = durable->position.index.value();
  if (index <= options_.log_tail_entries) return;
  process_->core->CutLog(Index(index - options_.log_tail_entries));
  AfterInput();
}

// server/snapshot_store.cc, and the sender.
StatusOr<SnapshotData> SimNode::MakeSnapshot(uint64_t id) {
  const SimEnv::Scope scope(&env_);
  if (core().role() != raft::Role::kLeader) return Status(Code::kFailedPrecondition, "not leader");
  SnapshotData data;
  data.term = core().term();
  RAFTKV_RETURN_IF_ERROR(store::RemoveTree(kSnapshotOut, &env_));
  RAFTKV_RETURN_IF_ERROR(process_->engine->MakeCheckpoint(kSnapshotOut));
  store::EngineOptions options = options_.engine;
  options.path = kSnapshotOut;
  options.env = &env_;
  options.wal_recovery = store::WalRecovery::kTornTail;
  {
    RAFTKV_ASSIGN_OR_RETURN(auto checkpoint, store::Engine::OpenReadOnly(options));
    RAFTKV_ASSIGN_OR_RETURN(const Membership base,
                            wal::LogStore(checkpoint.get()).BaseMembership());
    RAFTKV_ASSIGN_OR_RETURN(const auto source,
                            store::SnapshotSource::Open(std::move(checkpoint), base, id));
    data.last = source->header().applied.position.index;
    for (;;) {
      std::string chunk;
      RAFTKV_ASSIGN_OR_RETURN(const bool more, source->Next(&chunk));
      if (!more) break;
      data.chunks.push_back(std::move(chunk));
    }
  }
  RAFTKV_RETURN_IF_ERROR(store::RemoveTree(kSnapshotOut, &env_));
  return data;
}

Status SimNode::TakeSnapshot(NodeId from, const SnapshotData& snapshot) {
  const SimEnv::Scope scope(&env_);
  RAFTKV_RETURN_IF_ERROR(store::RemoveTree(kSnapshotIn, &env_));
  RAFTKV_RETURN_IF_ERROR(store::FromRocksDb(env_.CreateDir(kSnapshotIn), "making a directory"));
  store::SnapshotSink sink(kSnapshotIn, std::nullopt, nullptr, &env_);
  for (const std::string& chunk : snapshot.chunks) RAFTKV_RETURN_IF_ERROR(sink.Add(chunk));
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> tables, sink.Finish());
  RAFTKV_ASSIGN_OR_RETURN(const uint64_t id, process_->engine->StageKv(tables));
  RAFTKV_RETURN_IF_ERROR(store::RemoveTree(kSnapshotIn, &env_));
  raft::Message message;
  message.from = from;
  message.to = id_;
  message.term = snapshot.term;
  message.body =
      raft::InstallSnapshot{{sink.header().applied.position, sink.header().membership, id}};
  process_->core->Step(std::move(message));
  const bool taken = core().installing() && core().installing()->id == id;
  AfterInput();
  if (!taken) RAFTKV_RETURN_IF_ERROR(process_->engine->DropStagedKv(id));
  return Status::Ok();
}

void SimNode::OnSnapshotSent(NodeId to, Index last) {
  const SimEnv::Scope scope(&env_);
  process_->core->OnSnapshotSent(to, last);
  AfterInput();
}

}  // namespace raftkv::sim
