// What maintenance decides, as functions of what it sees.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "common/types.h"

namespace raftkv::server {

// How much of something that adds up (bytes of entries, time spent applying them) lies between two
// applied positions. Samples come as time goes by; what lies between two of them counts as after
// the earlier one, so that the answer errs upwards.
class ReplayMeter {
 public:
  // It came to `total` in all when the applied index was `applied`.
  void Sample(Index applied, uint64_t total);
  // How much came after `durable`.
  uint64_t After(Index durable);
  // An index up to which all entries lie at least `amount` behind the last sample; none where that
  // is not known. Forgets what lies before it.
  Index Back(uint64_t amount);

 private:
  struct Point {
    Index applied;
    uint64_t total = 0;
  };
  std::deque<Point> points_;
};

struct FlushLimits {
  uint64_t entries_max = 0;
  uint64_t bytes_max = 0;
  // Entries cost a replay as much as what they do: a put alone and a transaction of a hundred are
  // one entry each. What applying them took is the best guess at what doing it again will take.
  uint64_t apply_us_max = 0;
};

// What a restart would replay, beyond how many entries.
struct ReplayCost {
  uint64_t bytes = 0;
  uint64_t apply_us = 0;
};

// Whether a restart would replay too much.
bool FlushIsDue(const FlushLimits& limits, Index applied, Index durable, const ReplayCost& cost);

struct CutState {
  Index first;  // of the log
  Index durable_applied;
  uint64_t tail = 0;      // entries to keep behind it
  uint64_t step_min = 1;  // cut no fewer
  uint64_t step_max = 0;  // and no more at a time
};

// Up to where the log is to be cut now, or none. A cut costs a synced write, so small ones wait; a
// large one comes in steps, which bounds what one of them deletes.
Index CutTarget(const CutState& state);

// Whether the NOSPACE alarm is to be raised (true) or lowered (false), or left. It is lowered at a
// quarter more than the reserve, so that it does not flap.
std::optional<bool> SpaceAlarmChange(bool raised, uint64_t free_bytes, uint64_t reserve_bytes);

}  // namespace raftkv::server
