// The command line of the operator's subcommands: member, alarm, defrag, hashkv and snapshot.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"
#include "tools/ctl/client.h"
#include "tools/ctl/commands.h"

namespace CLI {
class App;
}

namespace raftkv::tools::ctl {

// A subcommand with an example in its help.
CLI::App* AddCommand(CLI::App* app, const std::string& name, const std::string& description,
                     const std::string& example);

// An id as member list prints it; kInvalidArgument for anything else.
StatusOr<uint64_t> ParseMemberId(const std::string& text);

// Prints what is wrong with the command line; returns the exit code.
int UsageError(const Output& output, const std::string& message);

// Must live until the command line was parsed and the command has run.
class AdminCli {
 public:
  explicit AdminCli(CLI::App* app);
  ~AdminCli();

  // Runs the subcommand that was given, if it is one of these; the exit code.
  std::optional<int> Run(Client* client, const Output& output) const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace raftkv::tools::ctl
