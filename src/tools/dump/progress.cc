#include "tools/dump/progress.h"

#include <utility>

namespace raftkv::tools::dump {
namespace {

using namespace std::chrono_literals;

// So much is done between two looks at the clock.
constexpr uint32_t kLookEvery = 256;

}  // namespace

Progress::Progress(Report* report, std::string what, std::string unit, uint64_t total)
    : report_(report),
      what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      enabled_(report->output().terminal_fd >= 0),
      show_next_(Clock::now() + 1s) {}

void Progress::Look() {
  until_look_ = kLookEvery;
  const Clock::time_point now = Clock::now();
  if (now < show_next_) return;
  show_next_ = now + 200ms;
  std::string line = what_ + ": " + std::to_string(done_);
  if (total_ > 0) line += " of " + std::to_string(total_);
  line += " " + unit_;
  if (total_ > 0) line += " (" + std::to_string(done_ * 100 / total_) + "%)";
  report_->ShowOnTerminal(line);
}

}  // namespace raftkv::tools::dump
