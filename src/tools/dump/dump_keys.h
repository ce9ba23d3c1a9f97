// raftkv-dump keys: the applied state.
#pragma once

#include <cstdint>
#include <string>

#include "tools/dump/directory.h"
#include "tools/dump/report.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

// How far to replay the log on top of what was flushed.
struct ReplayOptions {
  bool replay = false;
  bool to_last = false;  // to the end of the log
  uint64_t through = 0;  // 0: to the commit index in the hard state
};

struct KeysOptions {
  std::string prefix;
  int64_t revision = 0;  // 0: the newest
  ReplayOptions replay;
};

// Reports each key, and damaged records as problems. `scratch` is needed to replay, else null.
// kOutOfRange when the revision or the index asked for can't be had; any other error is why it
// could not be done.
Status DumpKeys(const NodeDirectory& directory, const KeysOptions& options,
                const ScratchDirectory* scratch, Report* report);

}  // namespace raftkv::tools::dump
