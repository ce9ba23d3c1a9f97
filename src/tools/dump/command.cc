#include "tools/dump/command.h"

#include <unistd.h>

#include <cstdio>
#include <optional>

#include "tools/dump/child.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

int CouldNotRun(const std::string& message) {
  std::fprintf(stderr, "raftkv-dump: %s\n", message.c_str());
  return kExitCouldNotRun;
}

}  // namespace

Command::Command(CLI::App* parent, const About& about)
    : app_(parent->add_subcommand(about.name, about.description)), shape_(about.shape) {
  app_->add_option("-o,--output", output_, "text, json (one document) or jsonl (a record a line)")
      ->capture_default_str();
  app_->footer("Example:\n  " + about.example);
}

void Command::AddDirectory(std::string* path, const std::string& name,
                           const std::string& description) {
  app_->add_option(name, *path, description)->required();
}

Status Command::FromHexInput(std::string* key) {
  const std::optional<std::string> bytes = FromHex(*key);
  if (!bytes) return Status(Code::kInvalidArgument, "'" + *key + "' is not hexadecimal");
  *key = *bytes;
  return Status::Ok();
}

int Command::Execute() {
  const StatusOr<Format> format = ParseFormat(output_);
  if (!format.ok()) return CouldNotRun(format.status().message());
  if (const Status status = Prepare(); !status.ok()) return CouldNotRun(status.message());
  return RunInChild({.format = *format, .shape = shape_, .fd = STDOUT_FILENO},
                    [this](Report* report) { return RunAndReport(report); });
}

int Command::RunAndReport(Report* report) {
  const Status status = Run(report);
  if (status.code() == Code::kCorruption) {
    report->Problem(status.message());
  } else if (!status.ok()) {
    report->Flush();
    return CouldNotRun(status.message());
  }
  if (report->problems() > 0) {
    report->Flush();
    std::fprintf(stderr, "raftkv-dump: %zu problem(s) found\n", report->problems());
  }
  return report->exit_code();
}

}  // namespace raftkv::tools::dump
