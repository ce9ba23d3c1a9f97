#include "server/maintenance_plan.h"

#include <algorithm>

namespace raftkv::server {

void ReplayMeter::Sample(Index applied, uint64_t total) {
  if (!points_.empty() && points_.back().applied == applied) {
    points_.back().total = total;
    return;
  }
  points_.push_back({applied, total});
  // Where nothing is ever flushed the record must stay bounded: every other point goes.
  constexpr size_t kPointsMax = 1024;
  if (points_.size() <= kPointsMax) return;
  std::deque<Point> fewer;
  for (size_t i = 0; i < points_.size(); i += 2) fewer.push_back(points_[i]);
  points_ = std::move(fewer);
}

uint64_t ReplayMeter::After(Index durable) {
  while (points_.size() > 1 && points_[1].applied <= durable) points_.pop_front();
  return points_.empty() ? 0 : points_.back().total - points_.front().total;
}

Index ReplayMeter::Back(uint64_t amount) {
  const auto far_enough = [&](const Point& point) {
    return points_.back().total - point.total >= amount;
  };
  while (points_.size() > 1 && far_enough(points_[1])) points_.pop_front();
  return !points_.empty() && far_enough(points_.front()) ? points_.front().applied : Index();
}

bool FlushIsDue(const FlushLimits& limits, Index applied, Index durable, const ReplayCost& cost) {
  if (applied <= durable) return false;
  return applied - durable > limits.entries_max || cost.bytes > limits.bytes_max ||
         cost.apply_us > limits.apply_us_max;
}

Index CutTarget(const CutState& state) {
  if (state.durable_applied.value() <= state.tail) return Index();
  uint64_t target = state.durable_applied.value() - state.tail;
  const uint64_t first = state.first.value();
  if (target < first || target - first + 1 < state.step_min) return Index();
  if (state.step_max > 0) target = std::min(target, first + state.step_max - 1);
  return Index(target);
}

std::optional<bool> SpaceAlarmChange(bool raised, uint64_t free_bytes, uint64_t reserve_bytes) {
  if (!raised && free_bytes < reserve_bytes) return true;
  if (raised && free_bytes >= reserve_bytes + reserve_bytes / 4) return false;
  return std::nullopt;
}

}  // namespace raftkv::server
