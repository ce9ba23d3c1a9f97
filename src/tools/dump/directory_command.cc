#include "tools/dump/directory_command.h"

namespace raftkv::tools::dump {

DirectoryCommand::DirectoryCommand(CLI::App* parent, const About& about, Live live)
    : Command(parent, about) {
  AddDirectory(&path_);
  if (live == Live::kRefused) return;
  app()->add_flag("--live", live_,
                  "Look while the node runs, changing nothing: the log up to now, and of the "
                  "applied state (kv) what was flushed so far, which may be well behind what the "
                  "node serves; ask the node for that");
}

Status DirectoryCommand::Prepare() {
  if (!live_) return Status::Ok();
  RAFTKV_ASSIGN_OR_RETURN(live_scratch_, ScratchDirectory::Make(""));
  return Status::Ok();
}

Status DirectoryCommand::Run(Report* report) {
  const StatusOr<std::unique_ptr<NodeDirectory>> directory =
      live_ ? NodeDirectory::OpenLive(path_, live_scratch_->path()) : NodeDirectory::Open(path_);
  const Status status =
      directory.ok() ? RunOn(**directory, report) : RunWithout(directory.status(), report);
  if (!live_ && directory.ok()) RAFTKV_RETURN_IF_ERROR((*directory)->CheckNotRunning());
  return status;
}

}  // namespace raftkv::tools::dump
