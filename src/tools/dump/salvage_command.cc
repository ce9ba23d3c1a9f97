// raftkv-dump salvage: what can still be proven of a damaged directory, as the directory of a new
// cluster's node.
#include "tools/dump/commands.h"
#include "tools/dump/directory.h"
#include "tools/dump/out_directory.h"
#include "tools/dump/salvage_state.h"
#include "tools/support/new_cluster.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

class SalvageCommand : public Command {
 public:
  explicit SalvageCommand(CLI::App* app)
      : Command(app, {.name = "salvage",
                      .description =
                          "Make a new directory, for a new cluster, of what can be proven intact "
                          "in a damaged one, and say what is lost. Exit code 1 when anything is. "
                          "Restore a backup, or let the node join anew, where that is possible",
                      .example = "raftkv-dump salvage data/n1 --out salvaged "
                                 "--initial-cluster-token salvaged-1"}) {
    AddDirectory(&path_);
    CLI::App* const options = this->app();
    options->add_option("--out", out_, "The directory to make")->required();
    AddNewClusterOptions(options, &cluster_);
    options->add_option("--scratch-dir", scratch_dir_,
                        "Where to work (default: $TMPDIR or /tmp; on the file system of DIR it "
                        "needs less space)");
  }

 private:
  Status Prepare() override {
    RAFTKV_RETURN_IF_ERROR(CheckOutDirectory(out_, path_));
    RAFTKV_ASSIGN_OR_RETURN(restore_, NewClusterOptions(cluster_, out_));
    RAFTKV_ASSIGN_OR_RETURN(scratch_, ScratchDirectory::Make(scratch_dir_));
    return Status::Ok();
  }

  Status Run(Report* report) override;
  // Of the listed tables; of all, where the unlisted ones tell more.
  Status MakeState(const std::string& db_path, const TableList& tables);
  void ReportTables(const TableList& tables, Report* report) const;
  void ReportResult(const SalvagedState& state, Report* report) const;

  std::string path_;
  std::string out_;
  std::string scratch_dir_;
  NewClusterFlags cluster_;
  store::RestoreOptions restore_;
  std::unique_ptr<ScratchDirectory> scratch_;
  std::unique_ptr<SalvagedDatabase> database_;
  std::unique_ptr<SalvagedState> state_;
};

Status SalvageCommand::Run(Report* report) {
  RAFTKV_RETURN_IF_ERROR(NodeDirectory::CheckNotRunning(path_));
  const std::string db_path = path_ + "/db";
  RAFTKV_ASSIGN_OR_RETURN(const TableList tables, ReadTableList(db_path, *scratch_));
  ReportTables(tables, report);
  RAFTKV_RETURN_IF_ERROR(MakeState(db_path, tables));
  if (state_->identity()) {
    RAFTKV_RETURN_IF_ERROR(
        CheckNewCluster(state_->identity()->cluster, restore_.identity.cluster, "the directory"));
  }
  RAFTKV_RETURN_IF_ERROR(MakeNewDirectory(out_, [&]() -> Status {
    RAFTKV_ASSIGN_OR_RETURN(const auto source, state_->TakeSource());
    return store::RestoreFrom(source.get(), restore_).status();
  }));
  ReportResult(*state_, report);
  for (const Loss& loss : state_->losses()) report->Problem(loss.what, loss.fields);
  return NodeDirectory::CheckNotRunning(path_);
}

Status SalvageCommand::MakeState(const std::string& db_path, const TableList& tables) {
  const auto make = [&](const TableList& from) -> Status {
    RAFTKV_ASSIGN_OR_RETURN(database_, SalvagedDatabase::Make(db_path, from, *scratch_));
    RAFTKV_ASSIGN_OR_RETURN(state_, SalvagedState::Make(*database_, from, *scratch_));
    return Status::Ok();
  };
  if (tables.unlisted.empty()) return make(tables);
  TableList all = tables;
  all.DistrustManifest();
  RAFTKV_ASSIGN_OR_RETURN(database_, SalvagedDatabase::Make(db_path, all, *scratch_));
  const Extent extent = ExtentOf(*database_, all);
  database_.reset();
  RAFTKV_RETURN_IF_ERROR(make(tables));
  if (state_->Covers(extent)) return Status::Ok();
  state_.reset();
  database_.reset();
  return make(all);
}

void SalvageCommand::ReportTables(const TableList& tables, Report* report) const {
  if (!tables.note.empty()) {
    report->Record([&] { return tables.note; },
                   [&] {
                     return Json{{"type", "note"}, {"what", tables.note}};
                   });
  }
  for (const SstFile& table : tables.files) {
    if (table.status.ok()) continue;
    std::string what = table.bytes > 0 ? "damaged: " + table.status.message() : "missing";
    if (!tables.Counts(table)) what = "not in use: a crash left it";
    report->Record(
        [&] {
          return table.name + (table.family.empty() ? "" : " (" + table.family + ")") + ": " + what;
        },
        [&] {
          return Json{
              {"type", "table"}, {"file", table.name}, {"family", table.family}, {"state", what}};
        });
  }
}

void SalvageCommand::ReportResult(const SalvagedState& state, Report* report) const {
  const store::AppliedRecord& applied = state.applied();
  report->Record(
      [&] {
        std::string text = out_ + ": " + std::to_string(state.keys()) + " keys, ";
        if (state.proven()) {
          text += "the state as of index " + std::to_string(applied.position.index.value()) +
                  " term " + std::to_string(applied.position.term.value()) + ", revision " +
                  std::to_string(applied.revision) + ", from " + state.BaseText() + ", and " +
                  std::to_string(state.replayed()) + " entries of the log";
        } else {
          text += "of " + state.BaseText() + ", up to revision " +
                  std::to_string(applied.revision) + ": no state that ever was";
        }
        return text + "\nnode " + IdText(restore_.identity.node.value()) + " of the new cluster " +
               IdText(restore_.identity.cluster.value()) + ", which goes on at revision " +
               std::to_string(applied.revision + restore_.revision_bump) + "\n" +
               HowToStart(cluster_, out_);
      },
      [&] {
        return Json{{"type", "salvaged"},
                    {"out", out_},
                    {"keys", state.keys()},
                    {"proven", state.proven()},
                    {"base", state.BaseText()},
                    {"index", applied.position.index.value()},
                    {"term", applied.position.term.value()},
                    {"revision", applied.revision},
                    {"replayed", state.replayed()},
                    {"cluster_id", IdText(restore_.identity.cluster.value())},
                    {"node_id", IdText(restore_.identity.node.value())},
                    {"new_revision", applied.revision + restore_.revision_bump}};
      });
}

}  // namespace

std::unique_ptr<Command> MakeSalvageCommand(CLI::App* app) {
  return std::make_unique<SalvageCommand>(app);
}

}  // namespace raftkv::tools::dump
