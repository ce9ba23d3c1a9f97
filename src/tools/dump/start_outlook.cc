#include "tools/dump/start_outlook.h"

#include <algorithm>
#include <memory>

#include "store/kv_store.h"

namespace raftkv::tools::dump {

StatusOr<StartOutlook> ForeseeStart(store::Engine* engine) {
  StartOutlook outlook;
  wal::LogStore log(engine);
  RAFTKV_ASSIGN_OR_RETURN(outlook.log, log.Recover());
  RAFTKV_ASSIGN_OR_RETURN(const std::unique_ptr<store::KvStore> state,
                          store::KvStore::Open(engine, store::KvStoreOptions()));
  outlook.applied = state->applied();
  RAFTKV_RETURN_IF_ERROR(log.CheckApplied(outlook.applied.position, outlook.log));
  const bool is_committed = outlook.log.configs.empty() ||
                            outlook.log.configs.back().index <= outlook.log.hard_state.commit;
  const Membership& newest =
      outlook.log.configs.empty() ? outlook.log.membership : outlook.log.configs.back().membership;
  if (is_committed && newest.removed.contains(engine->identity().node)) {
    return Status(Code::kFailedPrecondition,
                  "this node was removed from its cluster; to join again, it needs an empty "
                  "directory and has to be added as a new member");
  }
  outlook.replay_to = std::max(outlook.applied.position.index,
                               std::min(outlook.log.hard_state.commit, outlook.log.last));
  return outlook;
}

}  // namespace raftkv::tools::dump
