// raftkv-dump: what is in a node's data directory. Changes nothing in it.
#include <memory>
#include <vector>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "tools/dump/command.h"
#include "tools/dump/commands.h"

namespace raftkv::tools::dump {
namespace {

// What the log libraries have to say goes beside the output, and only if it matters.
void LogToStandardError() {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "raftkv-dump", std::make_shared<spdlog::sinks::stderr_sink_st>()));
  spdlog::set_pattern("%n: %v");
  spdlog::set_level(spdlog::level::warn);
}

int Main(int argc, char** argv) {
  CLI::App app("raftkv-dump: look at a node's data directory, changing nothing", "raftkv-dump");
  app.footer("Exit codes: 0 all is well; 1 problems were found in the directory; 2 could not run.");
  app.set_version_flag("--version", "raftkv-dump " RAFTKV_VERSION);
  const std::vector<std::unique_ptr<Command>> commands = MakeCommands(&app);
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitFine : kExitCouldNotRun;
  }
  LogToStandardError();
  for (const auto& command : commands) {
    if (command->chosen()) return command->Execute();
  }
  return kExitCouldNotRun;
}

}  // namespace
}  // namespace raftkv::tools::dump

int main(int argc, char** argv) { return raftkv::tools::dump::Main(argc, argv); }
