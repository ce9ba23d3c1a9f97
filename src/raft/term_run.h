// Terms of a stretch of the log, in a few words however long it is.
#pragma once

#include "common/types.h"

namespace raftkv::raft {

// Entries from `first` on have `term`, until the next run's first. Runs are in order, both fields
// strictly increasing, so that the term of any index is a binary search away without a disk read.
struct TermRun {
  Index first;
  Term term;

  bool operator==(const TermRun&) const = default;
};

}  // namespace raftkv::raft
