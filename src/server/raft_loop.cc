#include "server/raft_loop.h"

#include <spdlog/spdlog.h>

#include <limits>
#include <utility>

#include "server/peer_codec.h"
#include "store/command.h"
#include "store/kv_errors.h"
#include "store/validate.h"

namespace raftkv::server {
namespace {

// One Propose takes at most this many commands and bytes: the core refuses a batch as a whole.
constexpr size_t kProposeCommandsMax = 512;
constexpr size_t kProposeBytesMax = 1u << 20;

uint64_t WallClockMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// etcd's text for clients that match on it, with the code that says that the write may yet apply.
Status Unknown(const Status& status) { return {Code::kOutcomeUnknown, status.message()}; }

}  // namespace

RaftLoop::RaftLoop(const RaftLoopOptions& options, std::unique_ptr<raft::Core> core,
                   Transport* transport, store::ApplyLoop* apply_loop, RaftLoopHooks hooks)
    : options_(options),
      core_(std::move(core)),
      transport_(transport),
      apply_loop_(apply_loop),
      hooks_(std::move(hooks)),
      mailbox_(std::numeric_limits<size_t>::max()),
      votes_(core_->membership().IsVoter(core_->id())),
      member_changes_(core_.get()) {}

RaftLoop::~RaftLoop() { Stop(); }

void RaftLoop::Start(EventLoop* event_loop) {
  RAFTKV_CHECK(log_writer_ != nullptr, "SetLogWriter comes before Start");
  CarryOutMembership(core_->membership());
  PublishStatus();
  next_tick_ = Clock::now() + options_.tick;
  event_loop_ = event_loop;
  if (event_loop != nullptr) {
    event_loop->SetTurn([this] { return TakeTurn(); });
  } else {
    thread_ = std::thread([this] { Run(); });
  }
}

void RaftLoop::Stop() {
  if (std::exchange(stopped_, true)) return;  // everybody is answered once
  mailbox_.Close();
  if (thread_.joinable()) {
    thread_.join();
    return;
  }
  EventLoop* const event_loop = event_loop_.exchange(nullptr);
  if (event_loop != nullptr) event_loop->SetTurn(nullptr);
  // What came in before it was closed, even if the loop was never started, wants an answer.
  mailbox_.Take(&mail_);
  for (Mail& item : mail_) Handle(std::move(item));
  mail_.clear();
  FailEverything();
}

// --- Any thread -------------------------------------------------------------------------------

bool RaftLoop::Post(Mail&& mail) {
  if (!mailbox_.TryPush(std::move(mail))) return false;
  if (EventLoop* const loop = event_loop_) loop->Wake();
  return true;
}

bool RaftLoop::Admit(size_t bytes, bool internal) {
  const size_t requests = inflight_.fetch_add(1, std::memory_order_relaxed);
  const size_t total = inflight_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (internal) return true;
  if (requests < options_.inflight_max && total < options_.inflight_bytes_max) return true;
  Depart(bytes);
  return false;
}

void RaftLoop::Depart(size_t bytes) {
  inflight_.fetch_sub(1, std::memory_order_relaxed);
  inflight_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

void RaftLoop::Write(std::string command, store::ApplyCallback done, bool internal) {
  const size_t bytes = command.size();
  if (!Admit(bytes, internal)) {
    FailWrite(done, store::ErrTooManyRequests());
    return;
  }
  WriteRequest request;
  request.id = store::CommandRequestId(command);
  request.command = std::move(command);
  request.done = [this, bytes, done = std::move(done)](store::ApplyResult&& result) {
    Depart(bytes);
    done(std::move(result));
  };
  request.deadline = Clock::now() + options_.request_timeout;
  Mail mail(std::move(request));
  if (!Post(std::move(mail))) {
    FailWrite(std::get<WriteRequest>(mail).done, store::ErrStopped());
  }
}

void RaftLoop::OnPeerBatch(NodeId from, peer::v1::FrameBatch&& batch) {
  if (peer_batches_.load(std::memory_order_relaxed) >= options_.peer_batches_max) {
    peer_batches_dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  peer_batches_.fetch_add(1, std::memory_order_relaxed);
  Post(PeerInput{from, std::move(batch)});
}

void RaftLoop::OnAppended(raft::AppendSeq seq) { Post(Appended{seq}); }

void RaftLoop::OnApplied(Index index) { Post(Applied{index}); }

RaftStatus RaftLoop::status() const {
  std::lock_guard lock(status_mutex_);
  RaftStatus status = status_;
  status.proposals_failed = proposals_failed_.load(std::memory_order_relaxed);
  status.peer_batches_dropped = peer_batches_dropped_.load(std::memory_order_relaxed);
  return status;
}

// Counts and answers; safe on any thread because it touches nothing of the raft thread's.
void RaftLoop::FailWrite(store::ApplyCallback& done, Status status) {
  if (!done) return;
  proposals_failed_.fetch_add(1, std::memory_order_relaxed);
  store::ApplyResult result;
  result.status = std::move(status);
  store::ApplyCallback callback = std::exchange(done, nullptr);
  callback(std::move(result));
}

// --- The raft thread --------------------------------------------------------------------------

void RaftLoop::Run() {
  Begin();
  while (mailbox_.Drain(&mail_, NextDeadline())) Work();
  FailEverything();
}

RaftLoop::Clock::time_point RaftLoop::TakeTurn() {
  Begin();
  mailbox_.Take(&mail_);
  if (!mail_.empty() || Clock::now() >= NextDeadline()) Work();
  // What the turn itself has put there woke nobody.
  return mailbox_.size() > 0 ? Clock::time_point() : NextDeadline();
}

void RaftLoop::Begin() {
  if (std::exchange(begun_, true)) return;
  // A sole voter has nobody to wait for.
  if (core_->membership().voters.size() == 1 && core_->membership().IsVoter(core_->id())) {
    core_->Campaign();
  }
  while (core_->HasOutput()) CarryOut(core_->TakeOutput());
}

RaftLoop::Clock::time_point RaftLoop::NextDeadline() const {
  return std::min(next_tick_, commit_news_due_.value_or(next_tick_));
}

// What has come, and what follows from it.
void RaftLoop::Work() {
  for (Mail& item : mail_) Handle(std::move(item));
  mail_.clear();
  CatchUpTicks(Clock::now());
  DispatchWrites();
  DispatchReads();
  while (core_->HasOutput()) CarryOut(core_->TakeOutput());
  member_changes_.OnTurn();
  NoticeCommittedMembership();
  TellCommitIfDue(Clock::now());
  while (core_->HasOutput()) CarryOut(core_->TakeOutput());
  AnswerReads();
  PublishStatus();
}

void RaftLoop::Handle(Mail&& mail) {
  if (auto* write = std::get_if<WriteRequest>(&mail)) {
    waiting_writes_.push_back(std::move(*write));
  } else if (auto* read = std::get_if<ReadRequest>(&mail)) {
    waiting_reads_.push_back(std::move(*read));
  } else if (auto* input = std::get_if<PeerInput>(&mail)) {
    HandlePeer(std::move(*input));
  } else if (auto* appended = std::get_if<Appended>(&mail)) {
    core_->OnAppended(appended->seq);
  } else if (auto* applied = std::get_if<Applied>(&mail)) {
    core_->OnApplied(applied->index);
  } else if (auto* transfer = std::get_if<Transfer>(&mail)) {
    BeginTransfer(std::move(*transfer));
  } else if (auto* members = std::get_if<MembersRequest>(&mail)) {
    member_changes_.Begin(std::move(members->change), std::move(members->done), members->deadline);
  } else if (auto* cut = std::get_if<Cut>(&mail)) {
    core_->CutLog(cut->index);
  } else if (auto* ready = std::get_if<SnapshotReady>(&mail)) {
    HandleSnapshotReady(std::move(*ready));
  } else if (auto* sent = std::get_if<SnapshotSent>(&mail)) {
    core_->OnSnapshotSent(sent->to, sent->last);
  }
}

void RaftLoop::HandlePeer(PeerInput&& input) {
  peer_batches_.fetch_sub(1, std::memory_order_relaxed);
  for (auto& frame : *input.batch.mutable_frames()) {
    if (frame.has_forward()) {
      HandleForward(input.from, frame.mutable_forward());
      continue;
    }
    if (frame.has_forward_refused()) {
      HandleForwardRefused(frame.forward_refused());
      continue;
    }
    StatusOr<raft::Message> message = DecodeMessage(input.from, core_->id(), &frame);
    if (!message.ok()) {
      spdlog::error("dropped a peer message from={:x} reason=\"{}\"", input.from.value(),
                    message.status().message());
      continue;
    }
    core_->Step(*std::move(message));
  }
}

// Writes that a follower's clients made. They are proposed at once, not parked: the follower holds
// the deadline, and a refusal lets it look for the leader again.
void RaftLoop::HandleForward(NodeId from, peer::v1::Forward* forward) {
  std::vector<Payload> payloads;
  std::vector<uint64_t> ids;
  std::vector<uint64_t> invalid;
  last_stamp_ms_ = std::max(last_stamp_ms_, WallClockMs());
  for (std::string& command : *forward->mutable_payloads()) {
    const uint64_t id = store::CommandRequestId(command);
    // One that can't be applied would stop every replica; none may enter the log.
    if (const Status valid = store::ValidateCommand(command); !valid.ok()) {
      spdlog::error("refused a forwarded write from={:x} reason=\"{}\"", from.value(),
                    valid.message());
      invalid.push_back(id);
      continue;
    }
    ids.push_back(id);
    store::StampCommandTime(&command, last_stamp_ms_);
    payloads.push_back(std::make_shared<const std::string>(std::move(command)));
  }
  using Refused = peer::v1::ForwardRefused;
  if (!invalid.empty()) transport_->RefuseForward(from, invalid, Refused::INVALID);
  if (payloads.empty()) return;
  const StatusOr<LogPosition> first = core_->Propose(payloads);
  if (!first.ok()) {
    const bool overloaded = first.status().code() == Code::kResourceExhausted;
    transport_->RefuseForward(from, ids, overloaded ? Refused::OVERLOADED : Refused::NOT_LEADER);
    return;
  }
  forwarded_last_ = first->index + (payloads.size() - 1);
  proposals_ += payloads.size();
}

void RaftLoop::HandleForwardRefused(const peer::v1::ForwardRefused& refused) {
  for (const uint64_t id : refused.request_ids()) {
    const auto it = forwarded_.find(id);
    if (it == forwarded_.end()) continue;
    Forwarded forwarded = std::move(it->second);
    forwarded_.erase(it);
    if (refused.reason() == peer::v1::ForwardRefused::OVERLOADED) {
      FailWrite(forwarded.done, store::ErrTooManyRequests());
    } else if (refused.reason() == peer::v1::ForwardRefused::INVALID) {
      FailWrite(forwarded.done, {Code::kInvalidArgument, "raftkv: the leader can't apply this"});
    } else {
      parked_writes_.push_back(
          {id, std::move(forwarded.command), std::move(forwarded.done), forwarded.deadline});
    }
  }
}

// Followers mostly hear of a commit with the next append; a message of its own for each would
// double what is sent. But a write that came from a follower is answered there, once it is applied
// there.
void RaftLoop::TellCommitIfDue(Clock::time_point now) {
  if (!core_->OwesCommit()) {
    commit_news_due_.reset();
    return;
  }
  if (!commit_news_due_) commit_news_due_ = now + options_.commit_news_delay;
  if (forwarded_last_.none() && now < *commit_news_due_) return;
  if (forwarded_last_ <= core_->commit()) forwarded_last_ = Index();
  core_->TellCommit();
  commit_news_due_.reset();
}

void RaftLoop::CatchUpTicks(Clock::time_point now) {
  if (now < next_tick_) return;
  // After a long pause of the process one tick is enough: the others did not happen to it, and a
  // burst of them would start an election before the heartbeats that wait are read.
  core_->Tick();
  next_tick_ += options_.tick;
  if (next_tick_ <= now) next_tick_ = now + options_.tick;
  Unpark();
  ExpireRequests(now);
  member_changes_.OnTick(now);
  NoticeRemoval();
}

void RaftLoop::Unpark() {
  MoveAll(&parked_writes_, &waiting_writes_);
  MoveAll(&parked_reads_, &waiting_reads_);
}

void RaftLoop::DispatchWrites() {
  if (waiting_writes_.empty()) return;
  if (core_->role() == raft::Role::kLeader) {
    ProposeWrites();
  } else if (!core_->leader().none()) {
    ForwardWrites(core_->leader());
  }
  // Without a leader nothing was promised and nothing sent: the write waits for one.
  MoveAll(&waiting_writes_, &parked_writes_);
}

void RaftLoop::ProposeWrites() {
  last_stamp_ms_ = std::max(last_stamp_ms_, WallClockMs());
  std::vector<Payload> payloads;
  while (!waiting_writes_.empty()) {
    payloads.clear();
    size_t bytes = 0;
    while (payloads.size() < waiting_writes_.size() && payloads.size() < kProposeCommandsMax &&
           bytes < kProposeBytesMax) {
      std::string& command = waiting_writes_[payloads.size()].command;
      bytes += command.size();
      store::StampCommandTime(&command, last_stamp_ms_);
      payloads.push_back(std::make_shared<const std::string>(command));
    }
    const StatusOr<LogPosition> first = core_->Propose(payloads);
    if (!first.ok() && first.status().code() != Code::kResourceExhausted) return;  // parked
    for (size_t i = 0; i < payloads.size(); ++i) {
      WriteRequest& request = waiting_writes_.front();
      if (first.ok()) {
        proposed_.push_back(
            {{first->index + i, first->term}, std::move(request.done), request.deadline});
      } else {
        FailWrite(request.done, store::ErrTooManyRequests());
      }
      waiting_writes_.pop_front();
    }
    if (first.ok()) proposals_ += payloads.size();
  }
}

void RaftLoop::ForwardWrites(NodeId leader) {
  // In pieces: all that waited for a leader may be more than a link takes at once.
  while (!waiting_writes_.empty()) {
    const size_t most = std::min(waiting_writes_.size(), kProposeCommandsMax);
    std::vector<std::string> commands;
    for (size_t bytes = 0; commands.size() < most && bytes < kProposeBytesMax;) {
      bytes += waiting_writes_[commands.size()].command.size();
      commands.push_back(waiting_writes_[commands.size()].command);
    }
    const size_t taken = commands.size();
    if (!transport_->Forward(leader, std::move(commands))) return;  // parked
    forwards_ += taken;
    for (size_t i = 0; i < taken; ++i, waiting_writes_.pop_front()) {
      auto& [id, command, done, deadline] = waiting_writes_.front();
      forwarded_[id] = {std::move(done), deadline, leader, std::move(command)};
    }
  }
}

void RaftLoop::ExpireRequests(Clock::time_point now) {
  // Deadlines grow along the deque: the timeout is one for all.
  for (Proposed& proposed : proposed_) {
    if (proposed.deadline > now) break;
    FailWrite(proposed.done, Unknown(store::ErrTimeout()));
  }
  while (!proposed_.empty() && !proposed_.front().done) proposed_.pop_front();
  for (auto it = forwarded_.begin(); it != forwarded_.end();) {
    if (it->second.deadline > now) {
      ++it;
      continue;
    }
    FailWrite(it->second.done,
              Unknown(it->second.leader == core_->leader() ? store::ErrTimeout()
                                                           : store::ErrTimeoutLeaderFail()));
    it = forwarded_.erase(it);
  }
  std::erase_if(waiting_writes_, [&](WriteRequest& request) {
    if (request.deadline > now) return false;
    FailWrite(request.done, store::ErrNoLeader());
    return true;
  });
  std::erase_if(transfers_, [now](const Transfer& transfer) {
    if (transfer.deadline > now) return false;
    transfer.done(
        {Code::kUnavailable, "etcdserver: request timed out, leader transfer took too long"});
    return true;
  });
  ExpireReads(now);
}

// --- What the core wants done -----------------------------------------------------------------

void RaftLoop::CarryOut(raft::Output output) {
  if (output.role) CarryOutRole(*output.role);
  // Before the append: the leader's followers write in parallel with its own disk (thesis 10.2.1).
  if (!output.send.empty()) transport_->Send(output.send);
  if (output.append) {
    if (output.append->cut) ++log_cuts_;
    log_writer_->Submit(*std::move(output.append));
  }
  if (output.membership) CarryOutMembership(*output.membership);
  if (!output.dropped.empty()) FailDropped(output.dropped);
  if (output.install) CarryOutInstall(*output.install);
  if (output.apply) CarryOutApply(*std::move(output.apply));
  CarryOutReads(output);
  for (const NodeId to : output.snapshots_wanted) {
    if (hooks_.snapshot_wanted) {
      hooks_.snapshot_wanted(to, core_->term(), core_->first_index());
    } else {
      core_->OnSnapshotSent(to, Index());
    }
  }
}

void RaftLoop::CarryOutApply(raft::ApplyTask task) {
  store::ApplyBatch batch;
  uint64_t bytes = 0;
  for (const Entry& entry : task.entries) bytes += entry.bytes().size();
  bytes_applied_.fetch_add(bytes, std::memory_order_relaxed);
  for (size_t i = 0; i < task.entries.size(); ++i) {
    const Entry& entry = task.entries[i];
    while (!proposed_.empty() && proposed_.front().position.index < entry.index) {
      // Answered before, by timeout; an unanswered one would have been applied or dropped.
      RAFTKV_CHECK(!proposed_.front().done, "a waiting write was passed over");
      proposed_.pop_front();
    }
    if (!proposed_.empty() && proposed_.front().position == entry.position()) {
      if (proposed_.front().done) batch.waiters.emplace_back(i, std::move(proposed_.front().done));
      proposed_.pop_front();
    } else if (!forwarded_.empty() && entry.kind == EntryKind::kCommand) {
      auto node = forwarded_.extract(store::CommandRequestId(entry.bytes()));
      if (!node.empty()) batch.waiters.emplace_back(i, std::move(node.mapped().done));
    }
  }
  batch.entries = std::move(task.entries);
  apply_loop_->Submit(std::move(batch));
}

void RaftLoop::FailDropped(const std::vector<LogPosition>& dropped) {
  for (const LogPosition& position : dropped) {
    for (Proposed& proposed : proposed_) {
      if (proposed.position == position) {
        FailWrite(proposed.done, {Code::kDropped, "etcdserver: leader changed"});
      }
    }
  }
  std::erase_if(proposed_, [](const Proposed& proposed) { return !proposed.done; });
}

void RaftLoop::CarryOutRole(const raft::RoleChange& change) {
  spdlog::info("raft role={} term={} leader={:x}", raft::RoleName(change.role), change.term.value(),
               change.leader.value());
  if (change.leader != leader_ && !change.leader.none()) ++leader_changes_;
  leader_ = change.leader;
  std::erase_if(transfers_, [&](const Transfer& transfer) {
    const bool moved = !change.leader.none() && change.leader != core_->id() &&
                       (transfer.target.none() || change.leader == transfer.target);
    if (moved) transfer.done(Status::Ok());
    return moved;
  });
  Unpark();
  if (hooks_.role_changed) hooks_.role_changed(change);
}

void RaftLoop::PublishStatus() {
  RaftStatus status;
  status.role = core_->role();
  status.term = core_->term();
  status.leader = core_->leader();
  status.commit = core_->commit();
  status.applied = core_->applied();
  status.first = core_->first_index();
  status.last = core_->last_index();
  status.durable = core_->durable_index();
  status.leader_changes = leader_changes_;
  status.proposals = proposals_;
  status.proposals_pending = proposed_.size() + forwarded_.size() + parked_writes_.size();
  status.forwarded = forwards_;
  status.reads = reads_confirmed_;
  status.peers = core_->Peers();
  status.membership = membership_;
  status.log_cuts = log_cuts_;
  status.snapshots_installed = snapshots_installed_;
  status.lost_acknowledged = core_->acknowledged().lost();
  term_.store(status.term.value(), std::memory_order_relaxed);
  std::lock_guard lock(status_mutex_);
  if (status_.lost_acknowledged != status.lost_acknowledged) {
    const LogPosition owed = core_->acknowledged().owed().at_least;
    if (status.lost_acknowledged) {
      spdlog::error(
          "entries are missing that this node acknowledged, up to index {} of term {}: it "
          "does not stand for election until it has them again",
          owed.index.value(), owed.term.value());
    } else {
      spdlog::info("what this node acknowledged is whole again");
    }
  }
  status_ = std::move(status);
}

// The process is stopping. What was never proposed has definitely failed; what is in a log
// somewhere may still be applied.
void RaftLoop::FailEverything() {
  MoveAll(&parked_writes_, &waiting_writes_);
  for (WriteRequest& request : waiting_writes_) FailWrite(request.done, store::ErrStopped());
  for (Proposed& proposed : proposed_) FailWrite(proposed.done, Unknown(store::ErrStopped()));
  for (auto& [id, forwarded] : forwarded_) {
    FailWrite(forwarded.done, Unknown(store::ErrStopped()));
  }
  MoveAll(&parked_reads_, &waiting_reads_);
  for (auto& [token, requests] : reads_) MoveAll(&requests, &waiting_reads_);
  for (auto& [index, requests] : confirmed_reads_) MoveAll(&requests, &waiting_reads_);
  for (ReadRequest& request : waiting_reads_) request.ready(store::ErrStopped());
  for (Transfer& transfer : transfers_) transfer.done(store::ErrStopped());
  member_changes_.FailAll(store::ErrStopped());
}

}  // namespace raftkv::server
