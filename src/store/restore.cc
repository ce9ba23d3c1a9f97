#include "store/restore.h"

#include <filesystem>
#include <functional>
#include <optional>

#include "store/engine_files.h"
#include "store/mvcc.h"
#include "store/snapshot_sink.h"

namespace raftkv::store {
namespace {

namespace fs = std::filesystem;

// The kinds of record that are about the cluster and not about its data.
bool IsOfTheCluster(std::string_view key) {
  return key.front() == kConfigKind || key.front() == kMemberKind || key.front() == kAlarmKind;
}

// Makes the database of what `fill` puts into the sink. Tables are made in a directory beside it.
Status Build(const AppliedRecord& before, const RestoreOptions& options,
             const std::function<Status(SnapshotSink*)>& fill) {
  RAFTKV_ASSIGN_OR_RETURN(const AppliedRecord after, RestoredRecord(before, options));
  const std::string applied = EncodeAppliedRecord(after);
  const std::string directory = options.engine.path + ".restore";
  RAFTKV_RETURN_IF_ERROR(RemoveTree(directory));
  std::error_code error;
  if (!fs::create_directories(directory, error) || error) {
    return Status(Code::kIoError, "making " + directory + ": " + error.message());
  }
  SnapshotSink sink(
      directory, std::nullopt,
      [&applied](std::string_view key, std::string_view, std::optional<std::string>* replacement) {
        if (key == AppliedKey()) *replacement = applied;
        return !IsOfTheCluster(key);
      });
  Status status = fill(&sink);
  if (status.ok()) {
    const StatusOr<std::vector<std::string>> tables = sink.Finish();
    status = tables.ok()
                 ? Engine::Bootstrap(options.engine, options.identity, options.raft_meta, *tables)
                 : tables.status();
  }
  const Status removed = RemoveTree(directory);
  return status.ok() ? removed : status;
}

Status CheckIsNew(const RestoreOptions& options) {
  std::error_code error;
  if (!fs::exists(options.engine.path, error)) return Status::Ok();
  return Status(Code::kAlreadyExists,
                options.engine.path + " exists: what is restored goes to a new directory only");
}

}  // namespace

StatusOr<AppliedRecord> RestoredRecord(const AppliedRecord& before, const RestoreOptions& options) {
  if (options.revision_bump < 0 || options.revision_bump > INT64_MAX / 2 - before.revision) {
    return Status(Code::kInvalidArgument, "the revision can't be raised by " +
                                              std::to_string(options.revision_bump) + " from " +
                                              std::to_string(before.revision));
  }
  AppliedRecord after = before;
  after.position = kRestoredPosition;
  after.revision += options.revision_bump;
  if (options.revision_bump > 0) after.bumped_to = after.revision;
  if (options.mark_compacted) after.compact_revision = after.revision;
  return after;
}

StatusOr<SnapshotFileInfo> RestoreSnapshot(const std::string& file, const RestoreOptions& options) {
  RAFTKV_RETURN_IF_ERROR(CheckIsNew(options));
  RAFTKV_ASSIGN_OR_RETURN(const SnapshotFileInfo info, ReadSnapshotFile(file, nullptr));
  RAFTKV_RETURN_IF_ERROR(Build(info.header.applied, options, [&file](SnapshotSink* sink) {
    return ReadSnapshotFile(file, sink).status();
  }));
  return info;
}

StatusOr<SnapshotHeader> RestoreFrom(SnapshotSource* source, const RestoreOptions& options) {
  RAFTKV_RETURN_IF_ERROR(CheckIsNew(options));
  const Status status =
      Build(source->header().applied, options, [source](SnapshotSink* sink) -> Status {
        std::string chunk;
        for (;;) {
          RAFTKV_ASSIGN_OR_RETURN(const bool more, source->Next(&chunk));
          if (!more) return Status::Ok();
          RAFTKV_RETURN_IF_ERROR(sink->Add(chunk));
        }
      });
  if (!status.ok()) return status;
  return source->header();
}

}  // namespace raftkv::store
