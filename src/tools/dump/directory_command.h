// A subcommand that reads one node's directory, opened as a whole.
#pragma once

#include <memory>
#include <string>

#include "tools/dump/command.h"
#include "tools/dump/directory.h"
#include "tools/dump/scratch.h"

namespace raftkv::tools::dump {

class DirectoryCommand : public Command {
 protected:
  // kAllowed: with --live it can be asked of a running node's directory.
  enum class Live { kRefused, kAllowed };
  DirectoryCommand(CLI::App* parent, const About& about, Live live = Live::kRefused);

  const std::string& path() const { return path_; }
  bool live() const { return live_; }

  // To be called by those that override it.
  Status Prepare() override;

 private:
  // As Command::Run. Unless it is live, it is asked again afterwards whether a node runs, which may
  // have changed what was being read.
  virtual Status RunOn(const NodeDirectory& directory, Report* report) = 0;

  // Called instead when the directory can't be opened; `why` is what is returned for it.
  virtual Status RunWithout(const Status& why, Report*) { return why; }

  Status Run(Report* report) final;

  std::string path_;
  bool live_ = false;
  std::unique_ptr<ScratchDirectory> live_scratch_;
};

}  // namespace raftkv::tools::dump
