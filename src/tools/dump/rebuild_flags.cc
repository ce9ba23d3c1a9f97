#include "tools/dump/rebuild_flags.h"

namespace raftkv::tools::dump {

void RebuildFlags::AddTo(CLI::App* app, bool to_is_required) {
  CLI::Option* const to = app->add_option(
      "--to", to_,
      "As of what: index:NUMBER (of the log), revision:NUMBER (of the store), commit (the commit "
      "index on disk, which may lag what was acknowledged) or last (the end of the log)");
  if (to_is_required) {
    to->required();
  } else {
    to->capture_default_str();
  }
  app->add_option("--from-snapshot", options_.snapshot_file,
                  "A backup of this cluster (raftkvctl snapshot save) to start from, where the log "
                  "was cut");
  app->add_option("--scratch-dir", scratch_dir_,
                  "Where to work (default: $TMPDIR or /tmp; on the file system of DIR it needs "
                  "less space)");
}

Status RebuildFlags::Prepare() {
  RAFTKV_ASSIGN_OR_RETURN(options_.target, ParseTarget(to_));
  RAFTKV_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make(scratch_dir_));
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
