#include "bench/result.h"

#include <algorithm>

namespace raftkv::bench {
namespace {

uint32_t Microseconds(Clock::duration duration) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(us, 0, UINT32_MAX));
}

}  // namespace

void Result::Begin(Clock::time_point now, Clock::time_point last_answer) {
  begin_ = end_ = now;
  last_answer_ = last_answer;
  latencies_us_.Clear();
  gap_us_ = 0;
  found_ = unstarted_ = failures_ = 0;
  failures_by_code_.clear();
  first_failure_.clear();
}

void Result::Answered(Clock::time_point start, Clock::time_point now, bool found) {
  latencies_us_.Add(Microseconds(now - start));
  if (found) ++found_;
  gap_us_ = std::max(gap_us_, Microseconds(now - last_answer_));
  last_answer_ = now;
}

void Result::Failed(const std::string& code, const std::string& message) {
  if (failures_++ == 0) first_failure_ = message;
  ++failures_by_code_[code];
}

void Result::End(Clock::time_point now) {
  end_ = now;
  gap_us_ = std::max(gap_us_, Microseconds(now - last_answer_));
}

}  // namespace raftkv::bench
