#include "server/replica_check.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

namespace raftkv::server {

std::set<NodeId> CorruptMembers(const std::map<NodeId, uint64_t>& hashes, NodeId leader) {
  std::map<uint64_t, size_t> votes;
  for (const auto& [id, hash] : hashes) ++votes[hash];
  const auto own = hashes.find(leader);
  if (own == hashes.end()) return {};
  uint64_t right = own->second;
  for (const auto& [hash, count] : votes) {
    if (count > hashes.size() / 2) right = hash;
  }
  std::set<NodeId> wrong;
  for (const auto& [id, hash] : hashes) {
    if (hash != right) wrong.insert(id);
  }
  return wrong;
}

ReplicaCheck::ReplicaCheck(NodeId self, std::chrono::seconds every, ReplicaCheckHooks hooks)
    : self_(self), every_(every), hooks_(std::move(hooks)) {}

void ReplicaCheck::Step(Clock::time_point now) {
  if (every_.count() == 0 || busy_.load(std::memory_order_acquire)) return;
  // The first check comes a whole interval after the start, or after this node became the leader.
  if (!hooks_.leads() || next_check_ == Clock::time_point{}) {
    waiting_.clear();
    next_check_ = now + every_;
    return;
  }
  const bool begins = waiting_.empty();
  if (now < (begins ? next_check_ : next_ask_)) return;
  next_ask_ = now + kAskAgainEvery;
  if (begins) {
    next_check_ = now + every_;
    started_.fetch_add(1, std::memory_order_relaxed);
  }
  busy_.store(true, std::memory_order_release);
  hooks_.post([this, begins] {
    if (begins) Begin();
    if (!waiting_.empty()) Ask();
    busy_.store(false, std::memory_order_release);
  });
}

void ReplicaCheck::Begin() {
  const StatusOr<HashKvAnswer> own = hooks_.hash_own();
  if (!own.ok()) {
    spdlog::warn("the members were not compared: {}", own.status().message());
    if (own.status().code() == Code::kCorruption) Raise(self_, own.status().message());
    return;
  }
  revision_ = own->revision;
  hashes_ = {{self_, own->hash}};
  waiting_ = hooks_.others();
  asks_ = 0;
}

void ReplicaCheck::Ask() {
  ++asks_;
  std::set<NodeId> behind;
  for (const NodeId id : waiting_) {
    const StatusOr<HashKvAnswer> answer = hooks_.ask(id, revision_);
    if (answer.ok()) {
      hashes_[id] = answer->hash;
    } else if (answer.status().code() == Code::kOutOfRange && asks_ < kAsksMax) {
      behind.insert(id);
    } else {
      spdlog::warn("member={:x} was not compared revision={} asks={}: {}", id.value(), revision_,
                   asks_, answer.status().message());
      // It read a record of its own whose checksum is wrong.
      if (answer.status().code() == Code::kCorruption) Raise(id, answer.status().message());
    }
  }
  waiting_ = std::move(behind);
  if (waiting_.empty()) Conclude();
}

void ReplicaCheck::Conclude() {
  const std::set<NodeId> corrupt = CorruptMembers(hashes_, self_);
  spdlog::info("compared members={} revision={} corrupt={}", hashes_.size(), revision_,
               corrupt.size());
  for (const NodeId id : corrupt) {
    Raise(id, "its data differs from the others' at revision " + std::to_string(revision_));
  }
}

// Whoever leads by now: a difference at a committed revision is one for good.
void ReplicaCheck::Raise(NodeId id, const std::string& why) {
  spdlog::error("raising the CORRUPT alarm member={:x}: {}", id.value(), why);
  hooks_.raise_alarm(id);
}

}  // namespace raftkv::server
