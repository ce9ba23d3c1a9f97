// The subcommands, in the order --help shows them.
#pragma once

#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/dump/command.h"

namespace raftkv::tools::dump {

// Each adds its subcommand to `app`, which must outlive it.
std::unique_ptr<Command> MakeSummaryCommand(CLI::App* app);
std::unique_ptr<Command> MakeMetaCommand(CLI::App* app);
std::unique_ptr<Command> MakeLogCommand(CLI::App* app);
std::unique_ptr<Command> MakeKeysCommand(CLI::App* app);
std::unique_ptr<Command> MakeHistoryCommand(CLI::App* app);
std::unique_ptr<Command> MakeExportCommand(CLI::App* app);
std::unique_ptr<Command> MakeImportCommand(CLI::App* app);
std::unique_ptr<Command> MakeReplayCommand(CLI::App* app);
std::unique_ptr<Command> MakeSalvageCommand(CLI::App* app);
std::unique_ptr<Command> MakeVerifyCommand(CLI::App* app);
std::unique_ptr<Command> MakeDiffCommand(CLI::App* app);
std::unique_ptr<Command> MakeSessionsCommand(CLI::App* app);
std::unique_ptr<Command> MakeMembersCommand(CLI::App* app);
std::unique_ptr<Command> MakeWalCommand(CLI::App* app);
std::unique_ptr<Command> MakeFilesCommand(CLI::App* app);

// All of them.
std::vector<std::unique_ptr<Command>> MakeCommands(CLI::App* app);

}  // namespace raftkv::tools::dump
