#include "raft/config_history.h"

#include <string>
#include <utility>

#include "common/check.h"
#include "common/membership_codec.h"
#include "common/mutation.h"

namespace raftkv::raft {

ConfigHistory::ConfigHistory(Membership base, const std::vector<ConfigEntry>& configs)
    : base_(std::move(base)), entries_(configs.begin(), configs.end()) {}

void ConfigHistory::OnAppended(const Entry& entry) {
  if (entry.kind != EntryKind::kConfig) return;
  // What came from the network was checked before (Core::IsWellFormed).
  StatusOr<Membership> membership = DecodeMembership(entry.bytes());
  RAFTKV_CHECK(membership.ok(), "the configuration of entry " +
                                    std::to_string(entry.index.value()) +
                                    " can't be read: " + membership.status().ToString());
  entries_.push_back({entry.index, *std::move(membership)});
  ++version_;
}

void ConfigHistory::OnTruncated(Index from) {
  if (Mutated(Mutation::kConfigNotUndone)) return;
  while (!entries_.empty() && entries_.back().index >= from) {
    entries_.pop_back();
    ++version_;
  }
}

void ConfigHistory::OnCut(Index index) {
  while (!entries_.empty() && entries_.front().index <= index) {
    base_ = std::move(entries_.front().membership);
    entries_.pop_front();
  }
}

void ConfigHistory::OnReplaced(Membership base) {
  base_ = std::move(base);
  entries_.clear();
  ++version_;
}

}  // namespace raftkv::raft
