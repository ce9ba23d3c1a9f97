#include "tools/dump/start_outlook.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "store/kv_store.h"
#include "tools/dump/directory.h"

namespace raftkv::tools::dump {

StatusOr<StartOutlook> ForeseeStart(const std::string& path, store::Engine* engine) {
  std::error_code error;
  if (std::filesystem::exists(path + "/" + kRemovedMarker, error)) {
    return Status(Code::kFailedPrecondition,
                  "this member was removed from its cluster; to join again, it needs an empty "
                  "directory and has to be added as a new member");
  }
  const store::NodeIdentity& identity = engine->identity();
  StartOutlook outlook;
  wal::LogStore log(engine);
  RAFTKV_ASSIGN_OR_RETURN(outlook.log, log.Recover());
  const StatusOr<std::optional<wal::FenceRecord>> fence =
      wal::Fence::Read(path + "/" + wal::kFenceFile, identity.cluster, identity.node);
  // Also another node's, or one of a newer version than the database: it does not belong here.
  if (!fence.ok()) return Status(Code::kCorruption, fence.status().message());
  outlook.has_fence = fence->has_value();
  RAFTKV_ASSIGN_OR_RETURN(outlook.verdict,
                          wal::CheckStart(outlook.log, *fence, identity.node, path));
  RAFTKV_ASSIGN_OR_RETURN(const std::unique_ptr<store::KvStore> state,
                          store::KvStore::Open(engine));
  outlook.applied = state->applied();
  RAFTKV_RETURN_IF_ERROR(log.CheckApplied(outlook.applied.position, outlook.log));
  outlook.replay_to = std::max(outlook.applied.position.index,
                               std::min(outlook.log.hard_state.commit, outlook.log.last));
  return outlook;
}

}  // namespace raftkv::tools::dump
