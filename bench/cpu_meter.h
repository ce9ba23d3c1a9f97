// The CPU that the generator used, and the processes under load, over the measured time.
#pragma once

#include <string>
#include <vector>

#include "bench/schedule.h"

namespace raftkv::bench {

class CpuMeter {
 public:
  explicit CpuMeter(std::vector<int> others) : others_(std::move(others)) {}
  void Begin() { begin_ = Read(); }
  void End() { end_ = Read(); }

  // Of this process, user and system.
  double own_seconds() const { return end_.own_seconds - begin_.own_seconds; }
  // What share of all processors that was.
  double own_percent() const;
  bool has_others() const { return !others_.empty(); }
  // Of each of the others; by clock ticks, hundredths of a second.
  std::vector<double> others_seconds() const;

  // utime plus stime of a line of /proc/PID/stat, whose second field may hold anything.
  static double SecondsOfStat(const std::string& stat, double ticks_per_second);

 private:
  struct Sample {
    Clock::time_point at;
    double own_seconds = 0;
    std::vector<double> others_seconds;
  };
  Sample Read() const;

  const std::vector<int> others_;
  Sample begin_;
  Sample end_;
};

}  // namespace raftkv::bench
