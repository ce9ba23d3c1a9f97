// raftkv-dump replay: the state as of an earlier point, as the directory of a new cluster's node.
#include "tools/dump/commands.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/out_directory.h"
#include "tools/dump/rebuild_flags.h"
#include "tools/support/new_cluster.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

class ReplayCommand : public DirectoryCommand {
 public:
  explicit ReplayCommand(CLI::App* app)
      : DirectoryCommand(
            app, {.name = "replay",
                  .description =
                      "Make a new directory with the state as of an index or a revision, for a new "
                      "cluster: point-in-time recovery. From the stored state and the log; from "
                      "the log alone where it begins at 1; or from a backup and the log",
                  .example = "raftkv-dump replay data/n1 --to revision:4711 --out restored \\\n"
                             "    --initial-cluster-token restored-1",
                  .shape = Shape::kDocument}) {
    flags_.AddTo(this->app(), /*to_is_required=*/true);
    this->app()->add_option("--out", out_, "The directory to make")->required();
    AddNewClusterOptions(this->app(), &cluster_);
  }

 private:
  Status Prepare() override {
    RAFTKV_RETURN_IF_ERROR(CheckOutDirectory(out_, path()));
    RAFTKV_ASSIGN_OR_RETURN(restore_, NewClusterOptions(cluster_, out_));
    return flags_.Prepare();
  }

  Status RunOn(const NodeDirectory& directory, Report* report) override;
  std::string Text(const RebuiltState& state, const store::AppliedRecord& applied) const;

  RebuildFlags flags_;
  std::string out_;
  NewClusterFlags cluster_;
  store::RestoreOptions restore_;
};

Status ReplayCommand::RunOn(const NodeDirectory& directory, Report* report) {
  RAFTKV_RETURN_IF_ERROR(CheckNewCluster(directory.engine()->identity().cluster,
                                         restore_.identity.cluster, "the directory"));
  flags_.options().report = report;
  RAFTKV_ASSIGN_OR_RETURN(const auto state,
                          RebuiltState::Make(directory, flags_.scratch(), flags_.options()));
  const store::AppliedRecord applied = state->kv().applied();
  RAFTKV_RETURN_IF_ERROR(MakeNewDirectory(out_, [&]() -> Status {
    RAFTKV_ASSIGN_OR_RETURN(const auto source, state->TakeSource());
    return store::RestoreFrom(source.get(), restore_).status();
  }));
  report->Record([&] { return Text(*state, applied); },
                 [&] {
                   return Json{{"type", "replayed"},
                               {"out", out_},
                               {"index", applied.position.index.value()},
                               {"term", applied.position.term.value()},
                               {"revision", applied.revision},
                               {"base", state->base()},
                               {"base_index", state->base_position().index.value()},
                               {"base_revision", state->base_revision()},
                               {"replayed", state->replayed()},
                               {"beyond_commit", state->beyond_commit()},
                               {"cluster_id", IdText(restore_.identity.cluster.value())},
                               {"node_id", IdText(restore_.identity.node.value())},
                               {"new_revision", applied.revision + restore_.revision_bump}};
                 });
  return Status::Ok();
}

std::string ReplayCommand::Text(const RebuiltState& state,
                                const store::AppliedRecord& applied) const {
  std::string text = out_ + ": the state as of index " +
                     std::to_string(applied.position.index.value()) + " term " +
                     std::to_string(applied.position.term.value()) + ", revision " +
                     std::to_string(applied.revision) + "\nbuilt from " + state.base() +
                     " (index " + std::to_string(state.base_position().index.value()) +
                     ", revision " + std::to_string(state.base_revision()) + ") and " +
                     std::to_string(state.replayed()) + " entries of the log";
  if (state.beyond_commit() > 0) {
    text += "; the last " + std::to_string(state.beyond_commit()) +
            " are beyond the commit index on disk: perhaps never acknowledged";
  }
  return text + "\nnode " + IdText(restore_.identity.node.value()) + " of the new cluster " +
         IdText(restore_.identity.cluster.value()) + ", which goes on at revision " +
         std::to_string(applied.revision + restore_.revision_bump) + "\n" +
         HowToStart(cluster_, out_);
}

}  // namespace

std::unique_ptr<Command> MakeReplayCommand(CLI::App* app) {
  return std::make_unique<ReplayCommand>(app);
}

}  // namespace raftkv::tools::dump
