#include "store/restore.h"

#include <filesystem>
#include <optional>

#include "common/check.h"
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

StatusOr<SnapshotFileInfo> Build(const std::string& file, const std::string& directory,
                                 const std::string& applied, const RestoreOptions& options) {
  SnapshotSink sink(
      directory, std::nullopt,
      [&applied](std::string_view key, std::string_view, std::optional<std::string>* replacement) {
        if (key == AppliedKey()) *replacement = applied;
        return !IsOfTheCluster(key);
      });
  RAFTKV_ASSIGN_OR_RETURN(SnapshotFileInfo info, ReadSnapshotFile(file, &sink));
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> tables, sink.Finish());
  RAFTKV_RETURN_IF_ERROR(
      Engine::Bootstrap(options.engine, options.identity, options.raft_meta, tables));
  return info;
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
  std::error_code error;
  if (fs::exists(options.engine.path, error)) {
    return Status(Code::kAlreadyExists,
                  options.engine.path + " exists: a backup is restored to a new directory only");
  }
  RAFTKV_ASSIGN_OR_RETURN(const SnapshotFileInfo checked, ReadSnapshotFile(file, nullptr));
  RAFTKV_ASSIGN_OR_RETURN(const AppliedRecord applied,
                          RestoredRecord(checked.header.applied, options));
  const std::string directory = options.engine.path + ".restore";
  RAFTKV_RETURN_IF_ERROR(RemoveTree(directory));
  if (!fs::create_directories(directory, error) || error) {
    return Status(Code::kIoError, "making " + directory + ": " + error.message());
  }
  StatusOr<SnapshotFileInfo> info = Build(file, directory, EncodeAppliedRecord(applied), options);
  const Status removed = RemoveTree(directory);
  if (info.ok() && !removed.ok()) return removed;
  return info;
}

}  // namespace raftkv::store
