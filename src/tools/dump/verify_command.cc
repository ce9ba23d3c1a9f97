#include <memory>

#include "tools/dump/commands.h"
#include "tools/dump/verify.h"

namespace raftkv::tools::dump {
namespace {

class VerifyCommand : public Command {
 public:
  explicit VerifyCommand(CLI::App* parent)
      : Command(parent,
                {.name = "verify",
                 .description = "Whether everything in the directory is as it was written: the "
                                "files, the Raft log, the applied state, and what they say of each "
                                "other",
                 .example = "raftkv-dump verify data/n1 --deep"}) {
    AddDirectory(&path_);
    app()->add_flag("--deep", deep_,
                    "Also read every block of every table, and make the state anew from the log, "
                    "in a copy, where the log reaches back to the start");
    app()
        ->add_option("--limit", options_.shown_max, "Show this many problems of a check (0: all)")
        ->capture_default_str();
    app()->add_option("--scratch-dir", scratch_parent_,
                      "Where --deep makes the state anew (default: $TMPDIR or /tmp)");
  }

 private:
  Status Prepare() override {
    if (!deep_) return Status::Ok();
    RAFTKV_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make(scratch_parent_));
    options_.scratch = scratch_.get();
    return Status::Ok();
  }

  Status Run(Report* report) override { return Verify(path_, options_, report); }

  std::string path_;
  bool deep_ = false;
  std::string scratch_parent_;
  VerifyOptions options_;
  std::unique_ptr<ScratchDirectory> scratch_;
};

}  // namespace

std::unique_ptr<Command> MakeVerifyCommand(CLI::App* app) {
  return std::make_unique<VerifyCommand>(app);
}

}  // namespace raftkv::tools::dump
