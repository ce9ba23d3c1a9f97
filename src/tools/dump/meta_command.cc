#include <optional>

#include "store/cluster_state.h"
#include "store/mvcc.h"
#include "tools/dump/commands.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/facts.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"
#include "wal/log_store.h"

namespace raftkv::tools::dump {
namespace {

// Everything the command shows, read before anything is printed.
struct Meta {
  store::NodeIdentity identity;
  LogMeta log;
  LogBounds bounds;
  std::optional<Term> last_term;
  StatusOr<store::AppliedRecord> applied = Status(Code::kNotFound, "nothing was flushed");
  // What the applied state knows of the cluster, as of the applied record.
  StatusOr<store::ClusterState> cluster = Status(Code::kNotFound, "not read");
};

Json FamiliesJson(store::Engine* engine) {
  Json json = Json::array();
  // The applied state's family has the name of the snapshot it came from, where it came from one.
  const store::FamilyHandle kv = engine->kv();
  const std::pair<std::string, rocksdb::ColumnFamilyHandle*> families[] = {
      {"raft_meta", engine->raft_meta()},
      {"raft_log", engine->raft_log()},
      {kv->GetName(), kv.get()}};
  for (const auto& [name, handle] : families) {
    json.push_back(
        {{"name", name},
         {"sst_bytes", engine->IntProperty(handle, "rocksdb.total-sst-files-size")},
         {"memtable_bytes", engine->IntProperty(handle, "rocksdb.cur-size-all-mem-tables")}});
  }
  return json;
}

Json ToJson(const NodeDirectory& directory, const Meta& meta) {
  const bool empty = meta.bounds.first > meta.bounds.last;
  Json log{{"first", empty ? Json(nullptr) : Json(meta.bounds.first.value())},
           {"last", empty ? Json(nullptr) : Json(meta.bounds.last.value())},
           {"last_term", meta.last_term ? Json(meta.last_term->value()) : Json(nullptr)},
           {"before_first",
            meta.log.before_first.ok() ? PositionJson(*meta.log.before_first) : Json(nullptr)}};
  return {{"type", "meta"},
          {"path", directory.path()},
          {"format_version", meta.identity.format_version},
          {"cluster_id", IdText(meta.identity.cluster.value())},
          {"node_id", IdText(meta.identity.node.value())},
          {"node_name", meta.identity.node_name},
          {"hard_state", HardStateJson(meta.log.hard_state)},
          {"membership",
           meta.log.membership.ok() ? MembershipJson(*meta.log.membership) : Json(nullptr)},
          {"log", std::move(log)},
          {"applied", AppliedJson(meta.applied)},
          {"configuration", meta.cluster.ok() && meta.cluster->configuration
                                ? MembershipJson(*meta.cluster->configuration)
                                : Json(nullptr)},
          {"alarms", AlarmsJson(meta.cluster)},
          {"column_families", FamiliesJson(directory.engine())},
          {"wal", directory.live() ? Json(nullptr) : WalJson(directory.scan())}};
}

// One line a field; one line an element for lists of objects.
std::string ToText(const Json& json) {
  std::string out;
  const auto line = [&](const std::string& name, const std::string& value) {
    AppendLine(name, value, &out);
  };
  for (const auto& [name, value] : json.items()) {
    if (name == "type") continue;
    if (name == "column_families") {
      for (Json family : value) {
        const std::string label = "family " + family["name"].get<std::string>();
        family.erase("name");
        line(label, Words(family));
      }
    } else if (name == "wal" && !value.is_null()) {
      line("wal tail", value["tail"].get<std::string>() +
                           (value.contains("torn") ? ": " + Words(value["torn"]) : ""));
      for (const Json& file : value["files"]) line("wal file", Words(file));
    } else {
      line(name, Words(value));
    }
  }
  return out;
}

void ReportUnlessOk(const Status& status, const std::string& what, Report* report) {
  if (!status.ok()) report->Problem(what + ": " + status.message());
}

// What a node checks before it serves, beyond what LogStore::Recover does.
void CheckTogether(const Meta& meta, Report* report) {
  const auto number = [](Index index) { return std::to_string(index.value()); };
  if (meta.log.hard_state.ok() && meta.log.hard_state->commit > meta.bounds.last) {
    report->Problem("committed up to " + number(meta.log.hard_state->commit) +
                    ", but the log ends at " + number(meta.bounds.last));
  }
  if (!meta.applied.ok()) {
    // Before the first flush there is no record, and that is fine.
    if (meta.applied.status().code() != Code::kNotFound) {
      report->Problem("the applied record: " + meta.applied.status().message());
    }
    return;
  }
  if (meta.applied->position.index > meta.bounds.last) {
    report->Problem("applied up to " + number(meta.applied->position.index) +
                    ", but the log ends at " + number(meta.bounds.last));
  }
}

// The term of the applied entry must be the one the log has there.
Status CheckAppliedTerm(store::Engine* engine, const Meta& meta, Report* report) {
  if (!meta.applied.ok()) return Status::Ok();
  const LogPosition applied = meta.applied->position;
  if (applied.index < meta.bounds.first || applied.index > meta.bounds.last) return Status::Ok();
  return ForEachRecord(engine, applied.index, applied.index, [&](const LogRecord& record) {
    if (record.entry.ok() && record.entry->term != applied.term) {
      report->Problem("entry " + std::to_string(applied.index.value()) + " was applied with term " +
                      std::to_string(applied.term.value()) + ", but has term " +
                      std::to_string(record.entry->term.value()) + " in the log");
    }
  });
}

class MetaCommand : public DirectoryCommand {
 public:
  explicit MetaCommand(CLI::App* app)
      : DirectoryCommand(
            app,
            {.name = "meta",
             .description = "Whose directory it is, how far log and applied state go, and "
                            "whether a node would start on it",
             .example = "raftkv-dump meta data/n1",
             .shape = Shape::kDocument},
            Live::kAllowed) {
    this->app()->add_flag("--quick", quick_, "Don't read the whole log to verify it");
  }

 private:
  Status RunOn(const NodeDirectory& directory, Report* report) override;

  bool quick_ = false;
};

Status MetaCommand::RunOn(const NodeDirectory& directory, Report* report) {
  store::Engine* const engine = directory.engine();
  Meta meta;
  meta.identity = engine->identity();
  meta.log = ReadLogMeta(engine);
  RAFTKV_ASSIGN_OR_RETURN(meta.bounds, ReadLogBounds(engine, meta.log));
  if (meta.bounds.first <= meta.bounds.last) {
    RAFTKV_RETURN_IF_ERROR(
        ForEachRecord(engine, meta.bounds.last, meta.bounds.last, [&](const LogRecord& record) {
          if (record.entry.ok()) meta.last_term = record.entry->term;
        }));
  }
  meta.applied = ReadApplied(engine);
  meta.cluster = store::ReadClusterState(engine->db(), engine->kv());
  const Json json = ToJson(directory, meta);
  report->Record([&] { return ToText(json); }, [&] { return json; });

  ReportUnlessOk(meta.log.hard_state.status(), "the hard state", report);
  ReportUnlessOk(meta.log.membership.status(), "the membership", report);
  ReportUnlessOk(meta.log.before_first.status(), "the record of where the log starts", report);
  ReportUnlessOk(meta.cluster.status(), "the applied configuration and alarms", report);
  CheckTogether(meta, report);
  RAFTKV_RETURN_IF_ERROR(CheckAppliedTerm(engine, meta, report));
  if (!quick_) {
    const StatusOr<wal::RecoveredLog> recovered = wal::LogStore(engine).Recover();
    ReportUnlessOk(recovered.status(), "a node would not start on this log", report);
  }
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Command> MakeMetaCommand(CLI::App* app) {
  return std::make_unique<MetaCommand>(app);
}

}  // namespace raftkv::tools::dump
