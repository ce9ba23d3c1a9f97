// Where two directories differ: two members, or one member at two times.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "tools/dump/report.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

struct DiffOptions {
  uint64_t shown_max = 20;  // differences of each kind; 0: all
  // Set: the log is applied first, in copies, to what both know to be committed.
  const ScratchDirectory* scratch_a = nullptr;
  const ScratchDirectory* scratch_b = nullptr;
};

// Compares what both have: the log index by index, the state at every revision that can be read in
// both. A difference is a problem; what one alone has, or can't be compared, is a note. Not OK: why
// they can't be compared.
Status Diff(const std::string& path_a, const std::string& path_b, const DiffOptions& options,
            Report* report);

}  // namespace raftkv::tools::dump
