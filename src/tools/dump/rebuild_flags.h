// The options of the commands that build a state from the log (rebuild.h).
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "common/status.h"
#include "tools/dump/rebuild.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

class RebuildFlags {
 public:
  // --to, which defaults to last unless it is required; --from-snapshot, --scratch-dir.
  void AddTo(CLI::App* app, bool to_is_required);

  // For Command::Prepare: reads the options and makes the scratch directory.
  Status Prepare();

  RebuildOptions& options() { return options_; }
  const ScratchDirectory& scratch() const { return *scratch_; }

 private:
  std::string to_ = "last";
  std::string scratch_dir_;
  RebuildOptions options_;
  std::unique_ptr<ScratchDirectory> scratch_;
};

}  // namespace raftkv::tools::dump
