// The raft loop's reads: from the request, over the quorum's word for an index, to that index being
// applied here.

#include <utility>

#include "server/raft_loop.h"
#include "store/kv_errors.h"

namespace raftkv::server {

// --- Any thread -------------------------------------------------------------------------------

void RaftLoop::ReadBarrier(ReadCallback ready, std::chrono::milliseconds timeout) {
  if (!Admit(0, /*internal=*/false)) {
    ready(store::ErrTooManyRequests());
    return;
  }
  ReadRequest request;
  request.ready = [this, ready = std::move(ready)](Status status) {
    Depart(0);
    ready(std::move(status));
  };
  request.deadline = Clock::now() + (timeout.count() > 0 ? timeout : options_.request_timeout);
  Mail mail(std::move(request));
  if (!Post(std::move(mail))) {
    std::get<ReadRequest>(mail).ready(store::ErrStopped());
  }
}

// --- The raft thread --------------------------------------------------------------------------

void RaftLoop::DispatchReads() {
  if (waiting_reads_.empty()) return;
  const StatusOr<raft::ReadToken> token = core_->ReadIndex();
  if (token.ok()) {
    reads_[*token] = std::exchange(waiting_reads_, {});
  } else {
    MoveAll(&waiting_reads_, &parked_reads_);
  }
}

// Here and not on the apply thread, which would be held up. Each batch that was applied is followed
// by a turn.
void RaftLoop::AnswerReads() {
  while (!confirmed_reads_.empty() && confirmed_reads_.begin()->first <= apply_loop_->applied()) {
    const auto node = confirmed_reads_.extract(confirmed_reads_.begin());
    for (const ReadRequest& request : node.mapped()) request.ready(Status::Ok());
  }
}

void RaftLoop::CarryOutReads(const raft::Output& output) {
  for (const raft::ReadReady& read : output.reads) {
    auto node = reads_.extract(read.token);
    if (node.empty()) continue;
    reads_confirmed_ += node.mapped().size();
    confirmed_reads_.emplace(read.index, std::move(node.mapped()));
  }
  for (const raft::ReadToken token : output.failed_reads) {
    auto node = reads_.extract(token);
    if (!node.empty()) MoveAll(&node.mapped(), &parked_reads_);
  }
}

void RaftLoop::ExpireReads(Clock::time_point now) {
  const auto expire = [now](std::vector<ReadRequest>* requests, const Status& status) {
    std::erase_if(*requests, [&](const ReadRequest& request) {
      if (request.deadline > now) return false;
      request.ready(status);
      return true;
    });
    return requests->empty();
  };
  expire(&waiting_reads_, core_->leader().none() ? store::ErrNoLeader() : store::ErrTimeout());
  // Kept even when nobody waits any more: the core still has the token.
  for (auto& [token, requests] : reads_) expire(&requests, store::ErrTimeout());
  // What a quorum has may be long in coming here: in a snapshot, or behind a partition.
  for (auto it = confirmed_reads_.begin(); it != confirmed_reads_.end();) {
    it = expire(&it->second, store::ErrTimeout()) ? confirmed_reads_.erase(it) : std::next(it);
  }
}

}  // namespace raftkv::server
