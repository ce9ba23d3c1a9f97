// What one stretch of a run showed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "bench/histogram.h"
#include "bench/schedule.h"

namespace raftkv::bench {

class Result {
 public:
  // `last_answer`: a wait that began before counts in full.
  void Begin(Clock::time_point now, Clock::time_point last_answer);
  Clock::time_point begin() const { return begin_; }
  Clock::time_point last_answer() const { return last_answer_; }

  // `start`: when the request was sent or, in an open loop, was to be sent. `found`: it did what
  // depends on there being such a key.
  void Answered(Clock::time_point start, Clock::time_point now, bool found);
  void Failed(const std::string& code, const std::string& message);
  // It was due, but there was no client to send it.
  void Unstarted() { ++unstarted_; }

  // The time since the last answer counts too: nothing at all may have been answered.
  void End(Clock::time_point now);

  double seconds() const { return std::chrono::duration<double>(end_ - begin_).count(); }
  double rate() const {
    return seconds() > 0 ? static_cast<double>(latencies_us_.count()) / seconds() : 0;
  }
  const Histogram& latencies_us() const { return latencies_us_; }
  // The longest time in which no request was answered.
  uint32_t gap_us() const { return gap_us_; }
  uint64_t found() const { return found_; }
  uint64_t unstarted() const { return unstarted_; }
  uint64_t failures() const { return failures_; }
  const std::map<std::string, uint64_t>& failures_by_code() const { return failures_by_code_; }
  const std::string& first_failure() const { return first_failure_; }

 private:
  Clock::time_point begin_;
  Clock::time_point end_;
  Clock::time_point last_answer_;
  Histogram latencies_us_;
  uint32_t gap_us_ = 0;
  uint64_t found_ = 0;
  uint64_t unstarted_ = 0;
  uint64_t failures_ = 0;
  std::map<std::string, uint64_t> failures_by_code_;
  std::string first_failure_;
};

}  // namespace raftkv::bench
