#include "tools/dump/commands.h"

namespace raftkv::tools::dump {

std::vector<std::unique_ptr<Command>> MakeCommands(CLI::App* app) {
  std::vector<std::unique_ptr<Command>> commands;
  for (const auto make : {
           MakeSummaryCommand,
           MakeMetaCommand,
           MakeLogCommand,
           MakeKeysCommand,
           MakeHistoryCommand,
           MakeExportCommand,
           MakeImportCommand,
           MakeReplayCommand,
           MakeSalvageCommand,
           MakeVerifyCommand,
           MakeDiffCommand,
           MakeSessionsCommand,
           MakeMembersCommand,
           MakeWalCommand,
           MakeFilesCommand,
       }) {
    commands.push_back(make(app));
  }
  return commands;
}

}  // namespace raftkv::tools::dump
