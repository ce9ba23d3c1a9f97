#include "tools/dump/salvage_state.h"

#include <algorithm>
#include <functional>
#include <random>

#include <rocksdb/iterator.h>
#include <rocksdb/write_batch.h>

#include "raft/acknowledged.h"
#include "store/engine_files.h"
#include "store/engine_options.h"
#include "store/identity_codec.h"
#include "store/mvcc.h"
#include "tools/dump/rebuild.h"
#include "tools/dump/salvage_log.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

constexpr size_t kBatchBytes = 1 << 20;

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }
std::string Text(Index index) { return std::to_string(index.value()); }

// Writes records to the scratch database's kv, in batches.
class KvWriter {
 public:
  explicit KvWriter(store::Engine* engine) : engine_(engine), kv_(engine->kv()) {}

  Status Put(std::string_view key, std::string_view record) {
    RAFTKV_RETURN_IF_ERROR(
        store::FromRocksDb(batch_.Put(kv_.get(), rocksdb::Slice(key.data(), key.size()),
                                      rocksdb::Slice(record.data(), record.size())),
                           "building the state"));
    return batch_.GetDataSize() < kBatchBytes ? Status::Ok() : Flush();
  }

  Status Flush() {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const rocksdb::Status status = engine_->db()->Write(options, &batch_);
    batch_.Clear();
    return store::FromRocksDb(status, "building the state");
  }

 private:
  store::Engine* const engine_;
  const store::FamilyHandle kv_;
  rocksdb::WriteBatch batch_;
};

// A key of kv as one end of a range of users' keys: "" is where they begin, nothing where they end.
std::optional<std::string> UserKeyAt(const std::string& key) {
  if (key.empty() || key.front() < store::kDataKind) return "";
  std::string user_key;
  store::Revision revision;
  if (!store::DecodeDataKey(key, &user_key, &revision).ok()) return std::nullopt;
  return user_key;
}

// Which keys a lost table of the applied state may have held.
Loss LostKeys(const SstFile& table) {
  Loss loss{table.name +
                (table.bytes > 0 ? " is damaged (" + table.status.message() + ")" : " is missing"),
            Json{{"file", table.name}}};
  if (table.smallest.empty()) {
    loss.what += ": any key may be missing, or show an older version";
    return loss;
  }
  const std::string from = UserKeyAt(table.smallest).value_or("");
  const std::optional<std::string> to = UserKeyAt(table.largest);
  if (!UserKeyAt(table.smallest)) {
    loss.what += ": it held no keys, only what comes after them (the revision index, sessions)";
    return loss;
  }
  loss.what += ": keys from \"" + EscapeText(from) + "\" to " +
               (to ? "\"" + EscapeText(*to) + "\"" : "the last") +
               " may be missing, or show an older version, or be there though deleted";
  loss.fields["keys_from"] = Base64(from);
  if (to) loss.fields["keys_to"] = Base64(*to);
  return loss;
}

// Of the applied record that is left, whatever else is.
Index StoredIndex(const SalvagedDatabase& database) {
  rocksdb::ColumnFamilyHandle* const family = database.family(database.KvFamily());
  std::string record;
  if (family == nullptr ||
      !database.db()->Get(rocksdb::ReadOptions(), family, store::AppliedKey(), &record).ok()) {
    return Index();
  }
  const StatusOr<store::AppliedRecord> applied = store::DecodeAppliedRecord(record);
  return applied.ok() ? applied->position.index : Index();
}

}  // namespace

Extent ExtentOf(const SalvagedDatabase& database, const TableList& tables) {
  const SalvagedLog log(database, tables);
  return {.log_cut = log.before_first().index,
          .log_end = log.end(),
          .commit = log.commit(),
          .applied = StoredIndex(database)};
}

class SalvagedState::Builder {
 public:
  Builder(const SalvagedDatabase& database, const TableList& tables,
          const ScratchDirectory& scratch)
      : database_(database),
        tables_(tables),
        log_(database, tables),
        kv_name_(database.KvFamily()),
        state_(new SalvagedState()) {
    state_->path_ = scratch.path() + "/state";
    state_->extent_ = ExtentOf(database, tables);
  }

  StatusOr<std::unique_ptr<SalvagedState>> Build() {
    RAFTKV_RETURN_IF_ERROR(ReadIdentity());
    RAFTKV_RETURN_IF_ERROR(MakeEngine());
    const std::optional<Base> stored = StoredBase();
    RAFTKV_ASSIGN_OR_RETURN(const bool taken, stored ? TakeStored() : StatusOr<bool>(false));
    if (taken) {
      state_->base_ = *stored;
    } else if (log_.BeginsAtOne()) {
      state_->base_ = Base::kEmpty;
    } else {
      state_->base_ = Base::kParts;
      RAFTKV_RETURN_IF_ERROR(TakeParts());
    }
    RAFTKV_RETURN_IF_ERROR(Replay());
    AddLogLosses();
    if (!tables_.unreliable.empty()) {
      state_->losses_.push_back({tables_.unreliable +
                                 ": whether tables are missing, and what was in them, can't be "
                                 "known"});
    }
    RAFTKV_RETURN_IF_ERROR(CountKeys());
    return std::move(state_);
  }

 private:
  Status ReadIdentity() {
    std::string record;
    const rocksdb::Status got =
        database_.db()->Get(rocksdb::ReadOptions(), database_.family(store::kRaftMetaFamily),
                            std::string(store::kIdentityKey), &record);
    const StatusOr<store::NodeIdentity> identity =
        got.ok() ? store::DecodeIdentity(record)
                 : StatusOr<store::NodeIdentity>(Status(Code::kNotFound, "it is not there"));
    // Of a newer format: what else is there can't be judged.
    if (identity.status().code() == Code::kFailedPrecondition) return identity.status();
    if (identity.ok()) {
      state_->identity_ = *identity;
    } else {
      state_->losses_.push_back(
          {"the identity record is lost: whose directory this was can't be "
           "told (" +
           identity.status().message() + ")"});
    }
    return Status::Ok();
  }

  Status MakeEngine() {
    state_->engine_.reset();
    RAFTKV_RETURN_IF_ERROR(store::RemoveTree(state_->path_));
    store::NodeIdentity identity;
    identity.node_name = "salvaged";
    RAFTKV_RETURN_IF_ERROR(
        store::Engine::Bootstrap(ScratchEngineOptions(state_->path_), identity, {}));
    RAFTKV_ASSIGN_OR_RETURN(state_->engine_,
                            store::Engine::Open(ScratchEngineOptions(state_->path_)));
    return Status::Ok();
  }

  // Whether the tables that are left are those of a state there was: all of them, or all up to some
  // flush. Level 0 holds what was flushed last, each file newer than the one before, and what is
  // below is older still; so what is left without the newest files is the state before them.
  std::optional<Base> StoredBase() const {
    if (!tables_.unreliable.empty()) return std::nullopt;
    Base base = Base::kStored;
    uint64_t lost_from = UINT64_MAX;
    uint64_t left_to = 0;
    for (const SstFile& table : tables_.files) {
      if (!table.level || table.family != kv_name_) continue;
      const auto& [first, last] = tables_.sequences.at(table.name);
      if (table.status.ok()) {
        left_to = std::max(left_to, last);
        continue;
      }
      if (*table.level != 0) return std::nullopt;
      base = Base::kEarlier;
      lost_from = std::min(lost_from, first);
    }
    // With nothing left there is no state either, but that of an empty store.
    if (base == Base::kEarlier && (left_to == 0 || left_to >= lost_from)) return std::nullopt;
    return base;
  }

  // Calls `each` for every record of the stored state, until it fails.
  Status ForEachStored(const std::function<Status(std::string_view, std::string_view)>& each) {
    rocksdb::ColumnFamilyHandle* const family = database_.family(kv_name_);
    if (family == nullptr) return Status::Ok();
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> it(database_.db()->NewIterator(options, family));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      RAFTKV_RETURN_IF_ERROR(each(View(it->key()), View(it->value())));
    }
    return store::FromRocksDb(it->status(), "reading the stored state");
  }

  // Copies all of it. False, with nothing left in the scratch database, where it is not whole.
  StatusOr<bool> TakeStored() {
    KvWriter writer(state_->engine_.get());
    Status status = ForEachStored([&](std::string_view key, std::string_view record) {
      RAFTKV_RETURN_IF_ERROR(store::CheckRecord(key, record));
      return writer.Put(key, record);
    });
    if (status.ok()) status = writer.Flush();
    if (status.ok()) status = store::KvStore::Open(state_->engine_.get()).status();
    if (status.ok()) return true;
    if (status.code() != Code::kCorruption) return status;
    state_->losses_.push_back({status.message()});
    RAFTKV_RETURN_IF_ERROR(MakeEngine());
    return false;
  }

  // Every version that is left, with the revision index made anew from them: what is left of the
  // old one may name versions that are lost. Sessions, members, alarms are not taken: a client that
  // retries an old write is then told that its session is gone.
  Status TakeParts() {
    KvWriter writer(state_->engine_.get());
    store::AppliedRecord applied;
    int64_t newest = 0;
    uint64_t damaged = 0;
    Version newer;  // the next newer one of the same key, whose index entry is not written yet
    const Status read = ForEachStored([&](std::string_view key, std::string_view record) {
      if (key == store::AppliedKey()) {
        const StatusOr<store::AppliedRecord> decoded = store::DecodeAppliedRecord(record);
        if (decoded.ok()) applied = *decoded;
      }
      if (key.front() != store::kDataKind) return Status::Ok();
      Version version;
      store::DataRecord data;
      Status status = store::DecodeDataKey(key, &version.user_key, &version.revision);
      if (status.ok()) status = store::DecodeDataRecord(key, record, &data);
      if (!status.ok()) {
        ++damaged;
        return Status::Ok();
      }
      version.tombstone = data.tombstone;
      newest = std::max(newest, version.revision.main);
      const bool same_key = newer.user_key == version.user_key && !newer.revision.none();
      RAFTKV_RETURN_IF_ERROR(
          PutIndex(newer, same_key ? version.revision : store::Revision(), &writer));
      newer = std::move(version);
      return writer.Put(key, record);
    });
    RAFTKV_RETURN_IF_ERROR(read);
    RAFTKV_RETURN_IF_ERROR(PutIndex(newer, {}, &writer));
    applied.revision = std::max(applied.revision, newest);
    // Otherwise the store would miss the change that made its revision.
    applied.bumped_to = applied.revision;
    applied.compacted_to = 0;
    applied.sessions = 0;
    RAFTKV_RETURN_IF_ERROR(writer.Put(store::AppliedKey(), store::EncodeAppliedRecord(applied)));
    RAFTKV_RETURN_IF_ERROR(writer.Flush());
    for (const SstFile& table : tables_.files) {
      if (table.status.ok() || !tables_.Counts(table)) continue;
      if (table.family.empty() || table.family == kv_name_) {
        state_->losses_.push_back(LostKeys(table));
      }
    }
    if (damaged > 0) {
      state_->losses_.push_back(
          {std::to_string(damaged) +
           " versions of keys are damaged: those keys may show an older one"});
    }
    state_->losses_.push_back({"client sessions are left out"});
    return Status::Ok();
  }

  struct Version {
    std::string user_key;
    store::Revision revision;
    bool tombstone = false;
  };

  static Status PutIndex(const Version& version, store::Revision previous, KvWriter* writer) {
    if (version.revision.none()) return Status::Ok();
    const std::string key = store::RevisionKey(version.revision);
    std::string record;
    store::EncodeRevisionRecord(key, version.revision,
                                {version.tombstone, previous, version.user_key}, &record);
    return writer->Put(key, record);
  }

  // Applies the proven log to a proven state.
  Status Replay() {
    RAFTKV_ASSIGN_OR_RETURN(const auto kv, store::KvStore::Open(state_->engine_.get()));
    if (state_->proven()) {
      RAFTKV_RETURN_IF_ERROR(log_.Prove(kv->applied().position));
      Replayer replayer(&log_, state_->engine_.get(), kv.get());
      RAFTKV_ASSIGN_OR_RETURN(state_->replayed_, replayer.Run(log_.last(), 0, {}));
    } else {
      RAFTKV_RETURN_IF_ERROR(log_.Prove(log_.before_first()));
    }
    state_->applied_ = kv->applied();
    return Status::Ok();
  }

  void AddLogLosses() {
    const Index reached = state_->applied_.position.index;
    const WalTail& tail = database_.wal_tail();
    if (!tail.damage.empty()) {
      std::string what = "the WAL is damaged (" + tail.damage +
                         "): " + std::to_string(tail.records) + " intact records behind it";
      if (!tail.first_entry.none()) {
        what +=
            ", with log entries " + Text(tail.first_entry) + " to " + Text(tail.last_entry) + ",";
      }
      state_->losses_.push_back({what + " are not applied, since something is missing before them",
                                 {{"intact_records_behind", tail.records}}});
    }
    if (log_.unproven() > 0) {
      state_->losses_.push_back({log_.stopped_by() + ": " + std::to_string(log_.unproven()) +
                                 " intact entries behind, up to " + Text(log_.unproven_last()) +
                                 ", are not applied"});
    } else if (!log_.stopped_by().empty()) {
      state_->losses_.push_back({log_.stopped_by()});
    }
    if (!state_->proven() && log_.last() > log_.before_first().index) {
      state_->losses_.push_back(
          {"log entries " + Text(log_.before_first().index + 1) + " to " + Text(log_.last()) +
           " are intact, but are not applied to what is left of the keys: where a backup joins "
           "them, 'replay --from-snapshot' does that"});
    }
    const Extent& left = state_->extent_;
    if (const Index known = std::max(left.commit, left.applied); known > reached) {
      state_->losses_.push_back({"entries up to " + Text(known) +
                                 " were committed, but the state goes up to " + Text(reached) +
                                 " only"});
    }
  }

  Status CountKeys() {
    return ForEachKey(
        state_->engine_.get(), "", state_->applied_.revision,
        [this](const KeyState&) { ++state_->keys_; }, [](const Status&) {});
  }

  const SalvagedDatabase& database_;
  const TableList& tables_;
  SalvagedLog log_;
  const std::string kv_name_;
  std::unique_ptr<SalvagedState> state_;
};

StatusOr<std::unique_ptr<SalvagedState>> SalvagedState::Make(const SalvagedDatabase& database,
                                                             const TableList& tables,
                                                             const ScratchDirectory& scratch) {
  return Builder(database, tables, scratch).Build();
}

bool SalvagedState::Covers(const Extent& all) const {
  const Index reached = applied_.position.index;
  // A table that was replaced may bring back what was cut off the log, at either end.
  const bool goes_further =
      all.log_end.index > all.log_cut && raft::IsBehind(extent_.log_end, all.log_end);
  return proven() && all.log_cut <= reached && all.commit <= reached && all.applied <= reached &&
         !goes_further;
}

std::string SalvagedState::BaseText() const {
  switch (base_) {
    case Base::kStored:
      return "the stored state, which is whole";
    case Base::kEarlier:
      return "the stored state before what is lost was flushed";
    case Base::kEmpty:
      return "an empty store, since the log begins at 1";
    case Base::kParts:
      return "the versions of keys that are left";
  }
  return "";
}

StatusOr<std::unique_ptr<store::SnapshotSource>> SalvagedState::TakeSource() {
  RAFTKV_RETURN_IF_ERROR(engine_->FlushAll());
  engine_.reset();
  RAFTKV_ASSIGN_OR_RETURN(auto engine, store::Engine::OpenReadOnly(ScratchEngineOptions(path_)));
  return store::SnapshotSource::Open(std::move(engine), Membership(), std::random_device()());
}

}  // namespace raftkv::tools::dump
