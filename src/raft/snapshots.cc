// Cutting the log, and snapshots that take its place (paper, section 7; thesis, chapter 5).
#include <algorithm>

#include "raft/core.h"

namespace raftkv::raft {

void Core::CutLog(Index index) { log_.CutTo(index); }

void Core::OnSnapshotSent(NodeId to, Index last) {
  const auto peer = peers_.find(to);
  if (peer == peers_.end() || last > log_.last()) return;
  if (peer->second.OnSnapshotSent(last)) replicate_ = true;
}

void Core::Handle(NodeId from, Term, InstallSnapshot& install) {
  Follow(from);
  const SnapshotMeta& snapshot = install.snapshot;
  AppendResponse response{.run = options_.run};
  if (installing_ || snapshot.last.index <= log_.commit()) {
    // Nothing new, or no room for it yet. The leader has all that is committed here (Leader
    // Completeness, paper 5.4.3), so that it may as well go on from there.
    response.match = log_.commit();
  } else if (log_.Contains(snapshot.last)) {
    // What the log holds besides is worth keeping. That the entry is committed is news, though.
    CommitTo(snapshot.last.index);
    response.match = snapshot.last.index;
  } else {
    const std::vector<Entry> removed = log_.Install(snapshot.last, snapshot.membership);
    installing_ = snapshot;
    acknowledged_.OnLogChange(log_.last_position());
    SettleBySnapshot(snapshot.last, removed);
    response.match = snapshot.last.index;
  }
  agreed_ = std::max(agreed_, response.match);
  Promise(from, response, response.match);
}

// What has become of the proposals of this process's that were not committed, now that `last` is
// and the entries before it are unknown. `removed` are those the log held until now; the log did
// not hold `last`.
void Core::SettleBySnapshot(LogPosition last, const std::vector<Entry>& removed) {
  RememberOverwritten(removed);
  const auto was_held = [&](LogPosition position) {
    return !removed.empty() && position.index >= removed.front().index &&
           position.index <= removed.back().index &&
           removed[position.index - removed.front().index].position() == position;
  };
  std::erase_if(overwritten_, [&](LogPosition position) {
    bool is_lost = false;
    if (position.index < last.index) {
      is_lost = position.term > last.term;  // terms never decrease along a log
    } else if (position.index == last.index) {
      is_lost = position.term != last.term;
    } else {
      // Whoever holds what this log held after another entry than `last` lacks `last`.
      is_lost = position.term < last.term || was_held(position);
    }
    if (is_lost) dropped_.push_back(position);
    return is_lost || position.index <= last.index;  // the latter may be committed: never told
  });
}

}  // namespace raftkv::raft
