// How far long work has got, for who waits at a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "tools/dump/report.h"

namespace raftkv::tools::dump {

// Shows itself on standard error while it lives, from its first second on, if that is a terminal.
// Cheap enough to be told of every record. Not thread-safe.
class Progress {
 public:
  // "`what`: 1200000 of 5000000 `unit` (24%)". `total` 0: not known. `report` must outlive it.
  Progress(Report* report, std::string what, std::string unit, uint64_t total = 0);
  ~Progress() { report_->ShowOnTerminal(""); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Add(uint64_t n = 1) {
    done_ += n;
    if (!enabled_) return;
    if (n >= until_look_) {
      Look();
    } else {
      until_look_ -= static_cast<uint32_t>(n);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Look();

  Report* const report_;
  const std::string what_;
  const std::string unit_;
  const uint64_t total_;
  const bool enabled_;
  uint64_t done_ = 0;
  uint32_t until_look_ = 1;
  Clock::time_point show_next_;
};

}  // namespace raftkv::tools::dump
