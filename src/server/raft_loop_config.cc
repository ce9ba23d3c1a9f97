// The raft loop's part in what changes seldom: the configuration, who leads, the log's start,
// snapshots.

#include <spdlog/spdlog.h>

#include <utility>

#include "server/raft_loop.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// A node that was removed goes on for so many ticks: as the leader it must still tell the others
// that its removal is committed.
constexpr uint32_t kFarewellTicks = 10;

}  // namespace

// --- Any thread -------------------------------------------------------------------------------

void RaftLoop::ChangeMembers(ConfigChange change, ConfigDone done) {
  Mail mail(
      MembersRequest{std::move(change), std::move(done), Clock::now() + options_.request_timeout});
  if (!Post(std::move(mail))) std::get<MembersRequest>(mail).done(store::ErrStopped());
}

void RaftLoop::TransferLeadership(NodeId target, std::function<void(Status)> done) {
  Mail mail(Transfer{target, std::move(done), Clock::now() + options_.transfer_timeout});
  if (!Post(std::move(mail))) std::get<Transfer>(mail).done(store::ErrStopped());
}

void RaftLoop::CutLog(Index index) { Post(Cut{index}); }

void RaftLoop::OnSnapshotReady(NodeId from, Term term, raft::SnapshotMeta snapshot,
                               std::function<void(bool taken)> done) {
  Mail mail(SnapshotReady{from, term, std::move(snapshot), std::move(done)});
  if (!Post(std::move(mail))) std::get<SnapshotReady>(mail).done(false);
}

void RaftLoop::OnSnapshotSent(NodeId to, Index last) { Post(SnapshotSent{to, last}); }

// --- The raft thread --------------------------------------------------------------------------

void RaftLoop::BeginTransfer(Transfer&& transfer) {
  if (core_->role() != raft::Role::kLeader) {
    transfer.done(store::ErrNotLeader());
    return;
  }
  if (transfer.target == core_->id()) {
    transfer.done(Status::Ok());
    return;
  }
  const Status begun = core_->TransferLeadership(transfer.target);
  if (!begun.ok()) {
    transfer.done(begun);
    return;
  }
  transfers_.push_back(std::move(transfer));
}

void RaftLoop::HandleSnapshotReady(SnapshotReady&& ready) {
  const uint64_t id = ready.snapshot.id;
  raft::Message message;
  message.from = ready.from;
  message.to = core_->id();
  message.term = ready.term;
  message.body = raft::InstallSnapshot{std::move(ready.snapshot)};
  core_->Step(std::move(message));
  ready.done(core_->installing().has_value() && core_->installing()->id == id);
}

void RaftLoop::CarryOutInstall(const raft::SnapshotMeta& snapshot) {
  spdlog::info("installing a snapshot index={} term={} staged={}", snapshot.last.index.value(),
               snapshot.last.term.value(), snapshot.id);
  ++snapshots_installed_;
  // The snapshot may hold these writes, but not their answers. Of those that were sent to the
  // leader it is not even known whether they are in it or come after it.
  const Status unknown(Code::kOutcomeUnknown, store::ErrTimeoutLeaderFail().message());
  for (Proposed& proposed : proposed_) {
    if (proposed.position.index > snapshot.last.index) break;
    FailWrite(proposed.done, unknown);
  }
  std::erase_if(proposed_, [](const Proposed& proposed) { return !proposed.done; });
  for (auto& [id, forwarded] : forwarded_) FailWrite(forwarded.done, unknown);
  forwarded_.clear();
  if (hooks_.installing) hooks_.installing(snapshot);
  apply_loop_->SwitchTo(snapshot.id, snapshot.last.index);
}

void RaftLoop::CarryOutMembership(const Membership& membership) {
  membership_ = std::make_shared<const Membership>(membership);
  commit_reported_ = false;
  votes_ = membership.IsVoter(core_->id());
  spdlog::info("configuration in force: {}", ToString(membership));
  if (hooks_.membership_changed) hooks_.membership_changed(membership);
}

void RaftLoop::NoticeCommittedMembership() {
  if (commit_reported_ || core_->commit() < core_->config_index()) return;
  commit_reported_ = true;
  if (hooks_.membership_committed) hooks_.membership_committed(*membership_);
}

void RaftLoop::NoticeRemoval() {
  if (!member_changes_.RemovedForGood()) return;
  if (++ticks_since_removed_ == kFarewellTicks && hooks_.removed) hooks_.removed();
}

}  // namespace raftkv::server
