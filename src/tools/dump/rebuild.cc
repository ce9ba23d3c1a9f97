#include "tools/dump/rebuild.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "store/snapshot_file.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/dump/state_reader.h"

namespace raftkv::tools::dump {
namespace {

// Applied at once: bounds memory, and is large enough for RocksDB's batches to be efficient.
constexpr uint64_t kReplayBytes = 4 << 20;

std::string Text(Index index) { return std::to_string(index.value()); }

uint64_t RandomId() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

StatusOr<Target> ParseTarget(const std::string& text) {
  if (text == "last") return Target{Target::Kind::kLast};
  if (text == "commit") return Target{Target::Kind::kCommit};
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  Target target;
  target.kind = kind == "index" ? Target::Kind::kIndex : Target::Kind::kRevision;
  if (colon != std::string::npos && (kind == "index" || kind == "revision")) {
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + colon + 1, last, target.value);
    if (error == std::errc() && end == last && target.value > 0 && target.value <= INT64_MAX) {
      return target;
    }
  }
  return Status(Code::kInvalidArgument, "'" + text +
                                            "' is not index:NUMBER (of the log), revision:NUMBER "
                                            "(of the store), commit or last");
}

store::EngineOptions ScratchEngineOptions(const std::string& path) {
  store::EngineOptions options;
  options.path = path;
  options.block_cache_bytes = 32 << 20;
  options.kv_memtable_bytes = 16 << 20;
  options.log_memtable_bytes = 16 << 20;
  return options;
}

// --- Replayer ---------------------------------------------------------------------------------

StatusOr<uint64_t> Replayer::Run(Index last, int64_t revision, const RebuildOptions& options) {
  uint64_t count = 0;
  std::optional<Progress> progress;
  if (options.report != nullptr) {
    const Index applied = kv_->applied().position.index;
    progress.emplace(options.report, "replaying the log", "entries",
                     last > applied ? last - applied : 0);
  }
  std::vector<Entry> entries;
  for (Index applied = kv_->applied().position.index; applied < last;
       applied = kv_->applied().position.index) {
    Index to = last;
    if (revision != 0) {
      const auto missing = static_cast<uint64_t>(revision - kv_->revision());
      if (missing == 0) break;
      if (to - applied > missing) to = applied + missing;
    }
    entries.clear();
    RAFTKV_RETURN_IF_ERROR(log_->Read(applied + 1, to, kReplayBytes, &entries));
    count += Apply(entries, options);
    if (progress) progress->Add(entries.size());
  }
  return count;
}

uint64_t Replayer::Apply(const std::vector<Entry>& entries, const RebuildOptions& options) {
  std::vector<store::ApplyResult> results;
  const std::vector<bool> nobody(entries.size(), false);  // waits for an answer
  const std::span<const Entry> all(entries);
  size_t begin = 0;
  for (size_t i = 0; options.alone && i < all.size(); ++i) {
    if (!options.alone(all[i])) continue;
    kv_->Apply(all.subspan(begin, i - begin), nobody, &results);
    kv_->Apply(all.subspan(i, 1), nobody, &results);
    options.applied(all[i], engine_, kv_->revision());
    begin = i + 1;
  }
  kv_->Apply(all.subspan(begin), nobody, &results);
  return entries.size();
}

// --- RebuiltState -----------------------------------------------------------------------------

class RebuiltState::Builder {
 public:
  Builder(const NodeDirectory& directory, const ScratchDirectory& scratch,
          const RebuildOptions& options)
      : directory_(directory),
        options_(options),
        path_(scratch.path() + "/db"),
        log_(directory.engine()),
        state_(new RebuiltState()) {
    state_->path_ = path_;
  }

  StatusOr<std::unique_ptr<RebuiltState>> Build() {
    RAFTKV_ASSIGN_OR_RETURN(recovered_, log_.Recover());
    state_->membership_ = recovered_.membership;
    RAFTKV_ASSIGN_OR_RETURN(stored_, ReadAppliedOrInitial(directory_.engine()));
    RAFTKV_RETURN_IF_ERROR(SetBounds());
    RAFTKV_RETURN_IF_ERROR(OpenBase());
    Replayer replayer(&log_, state_->engine_.get(), state_->kv_.get());
    const LogPosition from = state_->kv_->applied().position;
    state_->base_position_ = from;
    state_->base_revision_ = state_->kv_->revision();
    RAFTKV_ASSIGN_OR_RETURN(state_->replayed_, replayer.Run(last_, revision_, options_));
    if (revision_ > state_->kv_->revision()) {
      return Status(Code::kOutOfRange, "the log ends at index " + Text(recovered_.last) +
                                           ", which made revision " +
                                           std::to_string(state_->kv_->revision()));
    }
    const Index reached = state_->kv_->applied().position.index;
    const Index known = std::max(recovered_.hard_state.commit, from.index);
    state_->beyond_commit_ = reached > known ? reached - known : 0;
    return std::move(state_);
  }

 private:
  Status SetBounds() {
    last_ = std::max(recovered_.last, stored_.position.index);
    switch (options_.target.kind) {
      case Target::Kind::kLast:
        break;
      case Target::Kind::kCommit:
        last_ = std::max(recovered_.hard_state.commit, stored_.position.index);
        break;
      case Target::Kind::kIndex:
        if (Index(options_.target.value) > last_) {
          return Status(Code::kOutOfRange, "the log ends at index " + Text(last_));
        }
        last_ = Index(options_.target.value);
        break;
      case Target::Kind::kRevision:
        revision_ = static_cast<int64_t>(options_.target.value);
        break;
    }
    return Status::Ok();
  }

  bool IsBehindTarget(const store::AppliedRecord& base) const {
    return revision_ != 0 ? base.revision <= revision_ : base.position.index <= last_;
  }

  Status OpenBase() {
    if (!options_.snapshot_file.empty()) return OpenBackup();
    const bool from_empty = recovered_.before_first.index.none();
    if (IsBehindTarget(stored_) && !(options_.prefer_empty && from_empty)) return OpenStored();
    if (from_empty) return OpenEmpty();
    return Status(Code::kOutOfRange,
                  "the stored state is of index " + Text(stored_.position.index) + ", revision " +
                      std::to_string(stored_.revision) +
                      ", and the log, which was cut, begins at index " + Text(recovered_.first) +
                      ": there is no older state than that, and none after index " + Text(last()) +
                      ". Give a backup of index " + Text(recovered_.before_first.index) +
                      " or later, and not after the target, with --from-snapshot");
  }

  Index last() const { return std::max(recovered_.last, stored_.position.index); }

  Status OpenStored() {
    state_->base_ = "the stored state";
    if (stored_.position.index < recovered_.before_first.index) {
      return Status(Code::kCorruption, "the log begins at index " + Text(recovered_.first) +
                                           ", but the state was applied only up to " +
                                           Text(stored_.position.index));
    }
    RAFTKV_RETURN_IF_ERROR(CopyDatabase(directory_.db_path(), path_));
    return Open(directory_.scan().recovery);
  }

  Status OpenEmpty() {
    state_->base_ = "an empty store";
    return Bootstrap({});
  }

  Status OpenBackup() {
    state_->base_ = "the backup";
    const std::string tables = path_ + ".tables";
    RAFTKV_RETURN_IF_ERROR(MakeDirectory(tables));
    store::SnapshotSink sink(tables, std::nullopt);
    RAFTKV_ASSIGN_OR_RETURN(const store::SnapshotFileInfo info,
                            store::ReadSnapshotFile(options_.snapshot_file, &sink));
    RAFTKV_RETURN_IF_ERROR(CheckBackup(info.header));
    RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> made, sink.Finish());
    return Bootstrap(made);
  }

  // A backup of another history would be taken for the beginning of this one.
  Status CheckBackup(const store::SnapshotHeader& header) {
    const LogPosition at = header.applied.position;
    const std::string what = "the backup is of index " + Text(at.index) + ", revision " +
                             std::to_string(header.applied.revision) + ": ";
    if (header.cluster != directory_.engine()->identity().cluster) {
      return Status(Code::kInvalidArgument, "the backup is of another cluster");
    }
    if (!IsBehindTarget(header.applied)) {
      return Status(Code::kOutOfRange, what + "that is after the target");
    }
    if (at.index < recovered_.before_first.index || at.index > recovered_.last) {
      return Status(Code::kOutOfRange, what + "the log here goes from index " +
                                           Text(recovered_.first) + " to " + Text(recovered_.last) +
                                           ", and does not join it");
    }
    Term term = recovered_.before_first.term;
    if (at.index > recovered_.before_first.index) {
      std::vector<Entry> entry;
      RAFTKV_RETURN_IF_ERROR(log_.Read(at.index, at.index, 1, &entry));
      term = entry.at(0).term;
    }
    if (term == at.term) return Status::Ok();
    return Status(Code::kInvalidArgument, what +
                                              "the log has another term there, so it is of "
                                              "another history");
  }

  Status Bootstrap(const std::vector<std::string>& tables) {
    RAFTKV_RETURN_IF_ERROR(store::Engine::Bootstrap(ScratchEngineOptions(path_),
                                                    directory_.engine()->identity(), {}, tables));
    return Open(store::WalRecovery::kClean);
  }

  Status Open(store::WalRecovery recovery) {
    store::EngineOptions options = ScratchEngineOptions(path_);
    options.wal_recovery = recovery;
    RAFTKV_ASSIGN_OR_RETURN(state_->engine_, store::Engine::Open(options));
    RAFTKV_ASSIGN_OR_RETURN(state_->kv_, store::KvStore::Open(state_->engine_.get()));
    return Status::Ok();
  }

  const NodeDirectory& directory_;
  const RebuildOptions& options_;
  const std::string path_;
  wal::LogStore log_;
  std::unique_ptr<RebuiltState> state_;
  wal::RecoveredLog recovered_;
  store::AppliedRecord stored_;
  Index last_;            // apply no further
  int64_t revision_ = 0;  // stop there; 0: no such bound
};

StatusOr<std::unique_ptr<RebuiltState>> RebuiltState::Make(const NodeDirectory& directory,
                                                           const ScratchDirectory& scratch,
                                                           const RebuildOptions& options) {
  return Builder(directory, scratch, options).Build();
}

StatusOr<std::unique_ptr<store::SnapshotSource>> RebuiltState::TakeSource() {
  RAFTKV_RETURN_IF_ERROR(engine_->FlushAll());
  kv_.reset();
  engine_.reset();
  RAFTKV_ASSIGN_OR_RETURN(auto engine, store::Engine::OpenReadOnly(ScratchEngineOptions(path_)));
  return store::SnapshotSource::Open(std::move(engine), membership_, RandomId());
}

}  // namespace raftkv::tools::dump
