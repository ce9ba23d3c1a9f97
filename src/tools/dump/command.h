// What every subcommand of raftkv-dump is. Each has a file of its own, NAME_command.cc, and a line
// in commands.h.
//
// A command that reads one directory, opened as a whole, derives from DirectoryCommand
// (directory_command.h); one that reads several, or must go on where a directory can't be opened,
// from Command. What it reads may make RocksDB abort: Run is in a child process, and what must go
// on after a crash uses CallInChild (child.h). Run may use gRPC: nothing has started its threads
// before.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "common/status.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

class Command {
 public:
  virtual ~Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Whether it is the one on the command line.
  bool chosen() const { return app_->parsed(); }

  // Does it, and returns the exit code. The process must have no other threads.
  int Execute();

 protected:
  // How it is called and what --help says. `example` is a whole line for the shell, on data/n1.
  // `shape` is what -o json writes.
  struct About {
    std::string name;
    std::string description;
    std::string example;
    Shape shape = Shape::kStream;
  };
  // Adds the subcommand and -o to `parent`, which must outlive it.
  Command(CLI::App* parent, const About& about);

  // For options: app()->add_option("--limit", limit_, "...").
  CLI::App* app() { return app_; }

  // The node's --data-dir, as a required positional argument.
  void AddDirectory(std::string* path, const std::string& name = "dir",
                    const std::string& description = "The node's --data-dir");

  // For --hex-input: puts the bytes in the place of their digits.
  static Status FromHexInput(std::string* key);

 private:
  // Called first, in the parent: says what is wrong with the options (exit code 2), and makes what
  // has to be removed again even when the child crashes, as a member.
  virtual Status Prepare() { return Status::Ok(); }

  // Called in the child. kCorruption becomes one more problem; any other error is why it could not
  // be done (exit code 2).
  virtual Status Run(Report* report) = 0;

  int RunAndReport(Report* report);

  CLI::App* const app_;
  const Shape shape_;
  std::string output_ = "text";
};

}  // namespace raftkv::tools::dump
