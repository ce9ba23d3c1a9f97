#include "store/engine.h"

#include <filesystem>
#include <set>
#include <utility>

#include <rocksdb/listener.h>
#include <rocksdb/perf_level.h>
#include <spdlog/spdlog.h>

#include "common/mutation.h"
#include "store/engine_files.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"
#include "store/info_log.h"
#include "store/wal_file_system.h"

namespace raftkv::store {
namespace {

namespace fs = std::filesystem;

// Once RocksDB stops taking writes, the log writer aborts at its next one; this says why.
class BackgroundErrorLog : public rocksdb::EventListener {
 public:
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override {
    spdlog::critical("RocksDB stopped writing after an error in the background, reason={} error={}",
                     static_cast<int>(reason), status->ToString());
  }
  // Said before RocksDB says it: where a compaction that has nothing to write meets an I/O error,
  // Debian's build ends the process with an assertion that tells nobody why.
  void OnSubcompactionCompleted(const rocksdb::SubcompactionJobInfo& info) override {
    const rocksdb::Status& status = info.status;
    if (status.ok() || status.IsShutdownInProgress() || status.IsColumnFamilyDropped()) return;
    spdlog::error("a compaction failed, family={} error={}", info.cf_name, status.ToString());
  }
};

rocksdb::Env* EnvOf(const EngineOptions& options) {
  return options.env != nullptr ? options.env : rocksdb::Env::Default();
}

const char kDamagedAdvice[] =
    "restore it from a backup, or remove the node's data directory and let the node join anew";

bool IsDirectory(const std::string& path, rocksdb::Env* env) {
  bool is_directory = false;
  return env->IsDirectory(path, &is_directory).ok() && is_directory;
}

// What RocksDB would answer itself, but only on the first try and less clearly.
Status CheckLooksLikeDatabase(const std::string& path, rocksdb::Env* env) {
  if (!IsDirectory(path, env)) {
    return Status(Code::kNotFound, "there is no database directory " + path);
  }
  const std::string current = path + "/CURRENT";
  if (!env->FileExists(current).ok() || IsDirectory(current, env)) {
    return Status(Code::kCorruption, "the database " + path +
                                         " has no CURRENT file, so its contents can't be found; " +
                                         kDamagedAdvice);
  }
  return Status::Ok();
}

// A file that is not there is damage; one that can't be read or locked is for the operator to fix.
bool IsAccessProblem(const rocksdb::Status& status) {
  return status.IsIOError() && !status.IsPathNotFound();
}

// The column families that may be the applied state, of a directory that has no others than it
// should.
StatusOr<std::vector<std::string>> FindKvFamilies(const EngineOptions& options,
                                                  const rocksdb::DBOptions& db_options) {
  std::vector<std::string> found;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(db_options, options.path, &found);
  if (IsAccessProblem(listed)) {
    return FromRocksDb(listed, "reading the manifest of the database " + options.path);
  }
  if (!listed.ok()) {
    return Status(Code::kCorruption, "cannot read the manifest of the database " + options.path +
                                         ": " + listed.ToString() + "; " + kDamagedAdvice);
  }
  const std::set<std::string> expected{rocksdb::kDefaultColumnFamilyName, kRaftMetaFamily,
                                       kRaftLogFamily};
  std::vector<std::string> kv_families;
  std::set<std::string> others;
  std::string names;
  for (const std::string& name : found) {
    names += (names.empty() ? "" : ", ") + name;
    if (ParseKvFamilyName(name)) {
      kv_families.push_back(name);
    } else {
      others.insert(name);
    }
  }
  if (others == expected) return kv_families;
  return Status(Code::kFailedPrecondition,
                "the database " + options.path + " has the column families " + names +
                    "; a directory of this version of raftkv has default, raft_log, raft_meta, and "
                    "kv or kv.<number>: it belongs to another program, or to a newer version");
}

Status OpenFailed(const std::string& path, const rocksdb::Status& status) {
  if (IsAccessProblem(status)) return FromRocksDb(status, "opening the database " + path);
  return Status(Code::kCorruption, "cannot open the database " + path + ": " + status.ToString() +
                                       "; " + kDamagedAdvice);
}

// Reads the identity; what makes it unusable is its codec's to say.
StatusOr<NodeIdentity> ReadIdentity(rocksdb::DB* db, rocksdb::ColumnFamilyHandle* raft_meta,
                                    const std::string& path) {
  std::string record;
  const rocksdb::Status status =
      db->Get(rocksdb::ReadOptions(), raft_meta, std::string(kIdentityKey), &record);
  if (status.IsNotFound()) {
    return Status(Code::kCorruption, "the database " + path + " has no identity record; " +
                                         std::string(kDamagedAdvice));
  }
  if (!status.ok()) return FromRocksDb(status, "reading the identity of " + path);
  StatusOr<NodeIdentity> identity = DecodeIdentity(record);
  if (!identity.ok())
    return Status(identity.status().code(), path + ": " + identity.status().message());
  return identity;
}

}  // namespace

void StopCountingOnThisThread() { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable); }

Status FromRocksDb(const rocksdb::Status& status, const std::string& what) {
  if (status.ok()) return Status::Ok();
  const std::string message = what + ": " + status.ToString();
  if (status.IsNotFound()) return Status(Code::kNotFound, message);
  if (status.IsCorruption()) return Status(Code::kCorruption, message);
  return Status(Code::kIoError, message);
}

Status Engine::Bootstrap(const EngineOptions& options, const NodeIdentity& identity,
                         const std::vector<std::pair<std::string, std::string>>& raft_meta,
                         const std::vector<std::string>& kv_tables) {
  rocksdb::Env* const env = EnvOf(options);
  if (env->FileExists(options.path).ok()) {
    return Status(Code::kAlreadyExists, options.path + " exists: it is opened, not made anew");
  }
  const fs::path parent = fs::path(options.path).parent_path();
  if (!parent.empty() && !IsDirectory(parent, env)) {
    return Status(Code::kIoError,
                  "there is no directory " + parent.string() + " to make the database in");
  }
  EngineOptions building = options;
  building.path = options.path + ".bootstrap";
  RAFTKV_RETURN_IF_ERROR(RemoveTree(building.path, env));

  rocksdb::DBOptions db_options = DatabaseOptions(building);
  db_options.create_if_missing = true;
  db_options.create_missing_column_families = true;
  db_options.error_if_exists = true;
  std::unique_ptr<Engine> engine(new Engine);
  engine->path_ = building.path;
  RAFTKV_RETURN_IF_ERROR(engine->OpenDatabase(db_options, building, {kKvFamily}, Access::kWrite));
  if (!kv_tables.empty()) {
    RAFTKV_RETURN_IF_ERROR(engine->Ingest(engine->kv().get(), kv_tables));
  }

  rocksdb::WriteBatch batch;
  batch.Put(engine->raft_meta_, std::string(kIdentityKey), EncodeIdentity(identity));
  for (const auto& [key, value] : raft_meta) batch.Put(engine->raft_meta_, key, value);
  rocksdb::WriteOptions write;
  write.sync = true;
  RAFTKV_RETURN_IF_ERROR(
      FromRocksDb(engine->db_->Write(write, &batch), "writing the first records"));
  RAFTKV_RETURN_IF_ERROR(engine->FlushAll());
  RAFTKV_RETURN_IF_ERROR(engine->Close());
  // RocksDB has synced what it must be able to read again; its other files are synced here, so that
  // the rename publishes a directory that is whole.
  RAFTKV_RETURN_IF_ERROR(SyncTree(building.path, env));
  return RenameNew(building.path, options.path, env);
}

StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options) {
  RAFTKV_RETURN_IF_ERROR(CheckLooksLikeDatabase(options.path, EnvOf(options)));
  const rocksdb::DBOptions db_options = DatabaseOptions(options);
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> kv_families,
                          FindKvFamilies(options, db_options));
  std::unique_ptr<Engine> engine(new Engine);
  engine->path_ = options.path;
  engine->newest_versions_bytes_ = NewestVersionsBytes(options);
  RAFTKV_RETURN_IF_ERROR(engine->OpenDatabase(db_options, options, kv_families, Access::kWrite));
  RAFTKV_ASSIGN_OR_RETURN(engine->identity_,
                          ReadIdentity(engine->db(), engine->raft_meta(), options.path));
  RAFTKV_RETURN_IF_ERROR(engine->DropUnusedKv());
  if (!Mutated(Mutation::kTornTailKept)) RAFTKV_RETURN_IF_ERROR(engine->RetireWal());
  return engine;
}

StatusOr<std::unique_ptr<Engine>> Engine::OpenReadOnly(const EngineOptions& options) {
  RAFTKV_RETURN_IF_ERROR(CheckLooksLikeDatabase(options.path, EnvOf(options)));
  const Access access = options.secondary_path.empty() ? Access::kRead : Access::kReadWhileRunning;
  rocksdb::DBOptions db_options = DatabaseOptions(options);
  // Starting sixteen threads for each column family takes longer than opening its tables.
  db_options.max_file_opening_threads = 1;
  // The tables that the node deletes meanwhile can be read as long as they are open.
  if (access == Access::kReadWhileRunning) {
    db_options.max_open_files = -1;
    if (options.env == nullptr) db_options.env = DefaultEnv(WalReading::kWhileWritten);
  }
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> kv_families,
                          FindKvFamilies(options, db_options));
  std::unique_ptr<Engine> engine(new Engine);
  engine->path_ = options.path;
  engine->newest_versions_bytes_ = NewestVersionsBytes(options);
  RAFTKV_RETURN_IF_ERROR(engine->OpenDatabase(db_options, options, kv_families, access));
  if (access == Access::kReadWhileRunning) {
    // Between its reading of the MANIFEST and of the WAL a file of the WAL may have been flushed
    // and deleted: a gap, unless the MANIFEST is read again.
    RAFTKV_RETURN_IF_ERROR(FromRocksDb(engine->db_->TryCatchUpWithPrimary(),
                                       "catching up with the node that runs on " + options.path));
  }
  RAFTKV_ASSIGN_OR_RETURN(engine->identity_,
                          ReadIdentity(engine->db(), engine->raft_meta(), options.path));
  engine->staged_.clear();
  return engine;
}

Status Engine::OpenDatabase(const rocksdb::DBOptions& db_options, const EngineOptions& options,
                            const std::vector<std::string>& kv_families, Access access) {
  rocksdb::DBOptions with_listener = db_options;
  with_listener.listeners.push_back(std::make_shared<BackgroundErrorLog>());
  // Who only looks leaves no trace, and an environment of a test's own is spared a file that is no
  // part of the data.
  const bool keep_log = access == Access::kWrite && options.env == nullptr;
  with_listener.info_log = keep_log ? OpenInfoLog(options.path) : NoInfoLog();
  with_listener.info_log_level = rocksdb::InfoLogLevel::INFO_LEVEL;
  const std::vector<rocksdb::ColumnFamilyDescriptor> families =
      ColumnFamilies(options, kv_families);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  rocksdb::Status status;
  switch (access) {
    case Access::kWrite:
      status = rocksdb::DB::Open(with_listener, options.path, families, &handles, &db);
      break;
    case Access::kRead:
      status = rocksdb::DB::OpenForReadOnly(with_listener, options.path, families, &handles, &db);
      break;
    case Access::kReadWhileRunning:
      status = rocksdb::DB::OpenAsSecondary(with_listener, options.path, options.secondary_path,
                                            families, &handles, &db);
      break;
  }
  if (!status.ok()) return OpenFailed(options.path, status);
  db_.reset(db);
  // In the order of ColumnFamilies. The default family is not used.
  constexpr size_t kFirstKv = 3;
  db->DestroyColumnFamilyHandle(handles[0]);
  raft_meta_ = handles[1];
  raft_log_ = handles[2];
  std::map<uint64_t, FamilyHandle> kv;
  for (size_t i = 0; i < kv_families.size(); ++i) {
    kv_options_ = families[kFirstKv + i].options;
    kv.emplace(*ParseKvFamilyName(kv_families[i]), Own(handles[kFirstKv + i]));
  }
  return ChooseKv(kv);
}

// The scanner takes a cut-off write for honest only at the very end of what was logged. So no file
// may be left that ends in one, or that a power loss could still cut off, before anything is
// written behind it: the next start after a crash would take it for damage. The latter are those of
// a process that was killed between a write and its sync, or whose sync failed; to sync them now
// would not do, for after a failed sync the kernel holds for written what it did not write. RocksDB
// has put their records into tables by now (avoid_flush_during_recovery is off) and deletes the
// files some time later, except where there was no whole record and so nothing to flush. They are
// emptied, for nothing in them is needed any more.
Status Engine::RetireWal() {
  RAFTKV_RETURN_IF_ERROR(FlushAll());
  std::unique_ptr<rocksdb::LogFile> current;
  RAFTKV_RETURN_IF_ERROR(
      FromRocksDb(db_->GetCurrentWalFile(&current), "asking for the current WAL file"));
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<WalFile> files, WalFiles(path_, db_->GetEnv()));
  for (const WalFile& file : files) {
    if (file.number < current->LogNumber())
      RAFTKV_RETURN_IF_ERROR(EmptyFile(file.path, db_->GetEnv()));
  }
  return SyncDirectory(path_, db_->GetEnv());
}

Engine::~Engine() {
  const Status status = Close();
  if (!status.ok()) spdlog::error("closing the database failed, error={}", status.ToString());
}

Status Engine::Close() {
  if (!db_) return Status::Ok();
  kv_.reset();
  staged_.clear();
  for (rocksdb::ColumnFamilyHandle** handle : {&raft_meta_, &raft_log_}) {
    if (*handle != nullptr) db_->DestroyColumnFamilyHandle(*handle);
    *handle = nullptr;
  }
  const rocksdb::Status status = db_->Close();
  db_.reset();
  return FromRocksDb(status, "closing the database " + path_);
}

FamilyHandle Engine::Own(rocksdb::ColumnFamilyHandle* handle) {
  return FamilyHandle(handle, [db = db_.get()](rocksdb::ColumnFamilyHandle* owned) {
    db->DestroyColumnFamilyHandle(owned);
  });
}

Status Engine::FlushLog() {
  rocksdb::FlushOptions flush;
  flush.wait = true;
  return FromRocksDb(db_->Flush(flush, {raft_meta_, raft_log_}), "flushing the log");
}

Status Engine::FlushAll() {
  rocksdb::FlushOptions flush;
  flush.wait = true;
  RAFTKV_RETURN_IF_ERROR(FromRocksDb(db_->Flush(flush, {raft_meta_, raft_log_, kv().get()}),
                                     "flushing all column families"));
  return FromRocksDb(db_->SyncWAL(), "syncing the WAL");
}

uint64_t Engine::IntProperty(rocksdb::ColumnFamilyHandle* family, const std::string& name) const {
  uint64_t value = 0;
  return db_->GetIntProperty(family, name, &value) ? value : 0;
}

uint64_t Engine::DiskBytes() const {
  uint64_t bytes = 0;
  std::vector<std::string> names;
  if (!db_->GetEnv()->GetChildren(path_, &names).ok()) return 0;
  for (const std::string& name : names) {
    if (!name.ends_with(".sst") && WalNumber(name) == 0) continue;
    // Files come and go meanwhile; one that went counts nothing.
    uint64_t size = 0;
    if (db_->GetEnv()->GetFileSize(path_ + "/" + name, &size).ok()) bytes += size;
  }
  return bytes;
}

}  // namespace raftkv::store
