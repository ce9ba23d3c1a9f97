#include "raft/read_index.h"

#include <algorithm>
#include <utility>

namespace raftkv::raft {

void LeaderReads::StartRound(Index commit) {
  ++round_;
  in_flight_.index = commit;
  in_flight_.reads = std::exchange(waiting_, {});
}

std::optional<LeaderReads::Confirmed> LeaderReads::Confirm(uint64_t round) {
  if (in_flight_.reads.empty() || round < round_) return std::nullopt;
  return std::exchange(in_flight_, {});
}

std::vector<LeaderReads::Read> LeaderReads::TakeAll() {
  std::vector<Read> all = std::move(std::exchange(in_flight_, {}).reads);
  all.insert(all.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
  return all;
}

uint64_t FollowerReads::TakeRequest() {
  requests_.push_back({next_id_, now_, std::exchange(waiting_, {})});
  return next_id_++;
}

std::vector<ReadToken> FollowerReads::TakeAnswered(uint64_t id) {
  const auto it = std::find_if(requests_.begin(), requests_.end(),
                               [id](const Request& request) { return request.id == id; });
  if (it == requests_.end()) return {};
  std::vector<ReadToken> tokens = std::move(it->tokens);
  requests_.erase(it);
  return tokens;
}

std::vector<ReadToken> FollowerReads::Tick() {
  ++now_;
  std::vector<ReadToken> expired;
  while (!requests_.empty() && now_ - requests_.front().sent_at >= timeout_ticks_) {
    const std::vector<ReadToken>& tokens = requests_.front().tokens;
    expired.insert(expired.end(), tokens.begin(), tokens.end());
    requests_.pop_front();
  }
  return expired;
}

std::vector<ReadToken> FollowerReads::TakeAll() {
  std::vector<ReadToken> all;
  for (const Request& request : std::exchange(requests_, {})) {
    all.insert(all.end(), request.tokens.begin(), request.tokens.end());
  }
  all.insert(all.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
  return all;
}

}  // namespace raftkv::raft
