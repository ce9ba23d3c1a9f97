// raftkv-dump: what is in a stopped node's data directory. Changes nothing in it.
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "tools/dump/child.h"
#include "tools/dump/directory.h"
#include "tools/dump/dump_keys.h"
#include "tools/dump/dump_log.h"
#include "tools/dump/dump_meta.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

struct Flags {
  std::string directory;
  std::string output = "text";
  std::string scratch_dir;
  std::string through;
  bool quick = false;
  bool hex_input = false;
  MetaOptions meta;
  LogOptions log;
  KeysOptions keys;
};

using Command = std::function<Status(const NodeDirectory&, Report*)>;

int UsageError(const std::string& message) {
  std::fprintf(stderr, "raftkv-dump: %s\n", message.c_str());
  return kExitCouldNotRun;
}

// What the log libraries have to say goes beside the output, and only if it matters.
void LogToStandardError() {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "raftkv-dump", std::make_shared<spdlog::sinks::stderr_sink_st>()));
  spdlog::set_pattern("%n: %v");
  spdlog::set_level(spdlog::level::warn);
}

// In the child: opens the directory, runs the command, and turns what went wrong into an exit code.
int RunOn(const std::string& path, const Command& command, Report* report) {
  const StatusOr<std::unique_ptr<NodeDirectory>> directory = NodeDirectory::Open(path);
  Status status = directory.status();
  if (status.ok()) {
    status = command(**directory, report);
    // A node that started meanwhile may have changed what was being read.
    const Status still_stopped = (*directory)->CheckNotRunning();
    if (!still_stopped.ok()) status = still_stopped;
  }
  if (status.code() == Code::kCorruption) {
    report->Problem(status.message());
  } else if (!status.ok()) {
    report->Flush();
    std::fprintf(stderr, "raftkv-dump: %s\n", status.message().c_str());
    return kExitCouldNotRun;
  }
  if (report->problems() > 0) {
    report->Flush();
    std::fprintf(stderr, "raftkv-dump: %zu problem(s) found in %s\n", report->problems(),
                 path.c_str());
  }
  return report->exit_code();
}

Status SetReplay(Flags* flags) {
  ReplayOptions& replay = flags->keys.replay;
  if (flags->through.empty()) return Status::Ok();
  if (!replay.replay) return Status(Code::kInvalidArgument, "--through needs --replay");
  if (flags->through == "last") {
    replay.to_last = true;
    return Status::Ok();
  }
  const char* last = flags->through.data() + flags->through.size();
  const auto [end, error] = std::from_chars(flags->through.data(), last, replay.through);
  if (error != std::errc() || end != last || replay.through == 0) {
    return Status(Code::kInvalidArgument,
                  "--through takes an index or 'last', not '" + flags->through + "'");
  }
  return Status::Ok();
}

CLI::App* AddCommand(CLI::App* app, Flags* flags, const std::string& name,
                     const std::string& description, const std::string& example) {
  CLI::App* command = app->add_subcommand(name, description);
  command->add_option("dir", flags->directory, "The node's --data-dir")->required();
  command->add_option("-o,--output", flags->output, "text, jsonl, or (meta) json")
      ->capture_default_str();
  command->footer("Example:\n  " + example);
  return command;
}

CLI::App* AddMeta(CLI::App* app, Flags* flags) {
  CLI::App* meta = AddCommand(app, flags, "meta",
                              "Whose directory it is, how far log and applied state go, and "
                              "whether a node would start on it",
                              "raftkv-dump meta data/n1");
  meta->add_flag("--quick", flags->quick, "Don't read the whole log to verify it");
  return meta;
}

CLI::App* AddLog(CLI::App* app, Flags* flags) {
  CLI::App* log = AddCommand(app, flags, "log", "The Raft log, entry by entry",
                             "raftkv-dump log data/n1 --from 10 --to 20 -o jsonl");
  log->add_option("--from", flags->log.from, "First index (default: the first there is)");
  log->add_option("--to", flags->log.to, "Last index (default: the last there is)");
  log->add_flag("--values", flags->log.values, "Show the bytes of values");
  return log;
}

CLI::App* AddKeys(CLI::App* app, Flags* flags) {
  CLI::App* keys = AddCommand(app, flags, "keys",
                              "The keys and values. What was applied but not flushed before a "
                              "crash is not in the directory "
                              "as keys, only in the log: --replay adds it, in a copy",
                              "raftkv-dump keys data/n1 --replay --prefix config/");
  keys->add_option("--prefix", flags->keys.prefix, "Only keys that start so");
  keys->add_flag("--hex-input", flags->hex_input, "The prefix is hexadecimal");
  keys->add_option("--revision", flags->keys.revision, "As of this revision (0: the newest)");
  keys->add_flag("--replay", flags->keys.replay.replay,
                 "Apply the log after the applied state, up to the commit index on disk: what a "
                 "restarted node serves before it hears from others");
  keys->add_option("--through", flags->through, "Replay up to this index, or 'last'");
  keys->add_option("--scratch-dir", flags->scratch_dir,
                   "Where to make the copy for --replay (default: $TMPDIR or /tmp; on the file "
                   "system of DIR it needs next to no space)");
  return keys;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("raftkv-dump: look at a stopped node's data directory, changing nothing",
               "raftkv-dump");
  app.footer("Exit codes: 0 all is well; 1 problems were found in the directory; 2 could not run.");
  app.set_version_flag("--version", "raftkv-dump " RAFTKV_VERSION);
  const CLI::App* meta = AddMeta(&app, &flags);
  const CLI::App* log = AddLog(&app, &flags);
  const CLI::App* keys = AddKeys(&app, &flags);
  app.require_subcommand(1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitFine : kExitCouldNotRun;
  }
  const StatusOr<Format> format = ParseFormat(flags.output);
  if (!format.ok()) return UsageError(format.status().message());
  if (*format == Format::kJson && !*meta) return UsageError("-o json is for meta; use -o jsonl");
  if (const Status status = SetReplay(&flags); !status.ok()) return UsageError(status.message());
  if (flags.keys.revision < 0) return UsageError("--revision can't be negative");
  if (flags.hex_input) {
    const std::optional<std::string> prefix = FromHex(flags.keys.prefix);
    if (!prefix) return UsageError("'" + flags.keys.prefix + "' is not hexadecimal");
    flags.keys.prefix = *prefix;
  }
  flags.meta.verify = !flags.quick;

  // Made here and not in the child, so that it is removed even if the child crashes.
  std::unique_ptr<ScratchDirectory> scratch;
  if (*keys && flags.keys.replay.replay) {
    auto made = ScratchDirectory::Make(flags.scratch_dir);
    if (!made.ok()) return UsageError(made.status().message());
    scratch = *std::move(made);
  }
  LogToStandardError();
  const Command command = [&](const NodeDirectory& directory, Report* report) {
    if (*meta) return DumpMeta(directory, flags.meta, report);
    if (*log) return DumpLog(directory, flags.log, report);
    return DumpKeys(directory, flags.keys, scratch.get(), report);
  };
  return RunInChild(*format, STDOUT_FILENO,
                    [&](Report* report) { return RunOn(flags.directory, command, report); });
}

}  // namespace
}  // namespace raftkv::tools::dump

int main(int argc, char** argv) { return raftkv::tools::dump::Main(argc, argv); }
