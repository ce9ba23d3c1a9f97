#include "wal/start_check.h"

#include "common/membership.h"
#include "raft/acknowledged.h"

namespace raftkv::wal {
namespace {

std::string Text(LogPosition at) {
  return "index " + std::to_string(at.index.value()) + " of term " +
         std::to_string(at.term.value());
}

}  // namespace

StatusOr<StartVerdict> CheckStart(const RecoveredLog& log, const std::optional<FenceRecord>& fence,
                                  NodeId node, const std::string& data_dir) {
  const Membership& newest = log.configs.empty() ? log.membership : log.configs.back().membership;
  const bool is_committed =
      log.configs.empty() || log.configs.back().index <= log.hard_state.commit;
  if (is_committed && newest.removed.contains(node)) {
    return Status(Code::kFailedPrecondition,
                  "this node was removed from its cluster; to join again, remove " + data_dir +
                      ", run raftkvctl member add and start with --initial-cluster-state existing");
  }
  StartVerdict verdict;
  verdict.hard_state = log.hard_state;
  if (!fence) return verdict;
  HardState& hard_state = verdict.hard_state;
  verdict.forgot_vote =
      fence->term > hard_state.term ||
      (fence->term == hard_state.term && hard_state.vote.none() && !fence->vote.none());
  if (verdict.forgot_vote) hard_state = {fence->term, fence->vote, hard_state.commit};
  const LogPosition last = EndOf(log);
  const raft::AckBounds& acknowledged = fence->acknowledged;
  if (!raft::IsShort(last, acknowledged)) return verdict;
  verdict.lost = raft::IsBehind(last, acknowledged.at_least)
                     ? "this node acknowledged entries up to " + Text(acknowledged.at_least)
                     : "entries that this node acknowledged were missing, up to " +
                           Text(acknowledged.at_most) + " at most";
  verdict.lost += ", but its log ends at " + Text(last) +
                  ": the disk lost what was synced, or an older copy of the database was put back";
  if (newest.voters.size() > 1 || !newest.IsVoter(node)) return verdict;
  return Status(Code::kCorruption,
                verdict.lost +
                    ". No other member has them: restore a backup; or, to go on without what is "
                    "missing, remove " +
                    data_dir + "/" + kFenceFile);
}

}  // namespace raftkv::wal
