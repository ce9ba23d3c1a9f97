#include <memory>

#include "tools/dump/commands.h"
#include "tools/dump/diff.h"

namespace raftkv::tools::dump {
namespace {

class DiffCommand : public Command {
 public:
  explicit DiffCommand(CLI::App* parent)
      : Command(parent, {.name = "diff",
                         .description = "Where two directories differ: two members, or one member "
                                        "before and after. Exit code 1 where they do, 0 where they "
                                        "agree on all that both have",
                         .example = "raftkv-dump diff data/n1 data/n2"}) {
    AddDirectory(&path_a_, "a", "A node's --data-dir");
    AddDirectory(&path_b_, "b", "The other's");
    app()
        ->add_option("--limit", options_.shown_max,
                     "Show this many differences of the log and of the state (0: all)")
        ->capture_default_str();
    app()->add_flag("--replay", replay_,
                    "First apply each log, in a copy, up to what both know to be committed: what "
                    "was not flushed before a crash is then compared too");
    app()->add_option("--scratch-dir", scratch_parent_,
                      "Where the copies go (default: $TMPDIR or /tmp)");
  }

 private:
  Status Prepare() override {
    if (!replay_) return Status::Ok();
    RAFTKV_ASSIGN_OR_RETURN(scratch_a_, ScratchDirectory::Make(scratch_parent_));
    RAFTKV_ASSIGN_OR_RETURN(scratch_b_, ScratchDirectory::Make(scratch_parent_));
    options_.scratch_a = scratch_a_.get();
    options_.scratch_b = scratch_b_.get();
    return Status::Ok();
  }

  Status Run(Report* report) override { return Diff(path_a_, path_b_, options_, report); }

  std::string path_a_;
  std::string path_b_;
  bool replay_ = false;
  std::string scratch_parent_;
  DiffOptions options_;
  std::unique_ptr<ScratchDirectory> scratch_a_;
  std::unique_ptr<ScratchDirectory> scratch_b_;
};

}  // namespace

std::unique_ptr<Command> MakeDiffCommand(CLI::App* app) {
  return std::make_unique<DiffCommand>(app);
}

}  // namespace raftkv::tools::dump
