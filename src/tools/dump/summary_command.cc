// raftkv-dump summary: one screen of what matters.
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rocksdb/metadata.h>

#include "tools/dump/commands.h"
#include "tools/dump/configurations.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/facts.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/dump/start_outlook.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

Json FamilyJson(store::Engine* engine, rocksdb::ColumnFamilyHandle* handle) {
  rocksdb::ColumnFamilyMetaData data;
  engine->db()->GetColumnFamilyMetaData(handle, &data);
  Json levels = Json::array();
  for (const rocksdb::LevelMetaData& level : data.levels) {
    if (level.files.empty()) continue;
    levels.push_back(
        {{"level", level.level}, {"files", level.files.size()}, {"bytes", level.size}});
  }
  return {{"name", data.name},
          {"bytes", data.size},
          {"files", data.file_count},
          // In memory here, because a start replays it from the WAL.
          {"wal_bytes", engine->IntProperty(handle, "rocksdb.cur-size-all-mem-tables")},
          {"levels", levels}};
}

Json LogJson(const LogMeta& meta, const LogBounds& bounds, const std::optional<Term>& last_term) {
  const bool empty = bounds.first > bounds.last;
  return {{"first", empty ? Json(nullptr) : Json(bounds.first.value())},
          {"last", empty ? Json(nullptr) : Json(bounds.last.value())},
          {"last_term", last_term ? Json(last_term->value()) : Json(nullptr)},
          {"commit_floor",
           meta.hard_state.ok() ? Json(meta.hard_state->commit.value()) : Json(nullptr)}};
}

// The newest configuration, and where it comes from.
Json NewestConfiguration(const std::vector<Configuration>& configurations) {
  if (configurations.empty()) return nullptr;
  const Configuration& newest = configurations.back();
  Json json{{"place", newest.in_log ? "log" : "log_start"},
            {"index", newest.position.index.value()},
            {"term", newest.position.term.value()}};
  json.update(MembershipJson(newest.membership));
  return json;
}

StatusOr<uint64_t> CountLiveKeys(store::Engine* engine, int64_t revision, Report* report,
                                 const std::function<void(const Status&)>& damaged) {
  uint64_t keys = 0;
  Progress progress(report, "counting keys", "keys");
  RAFTKV_RETURN_IF_ERROR(ForEachKey(
      engine, "", revision,
      [&](const KeyState&) {
        ++keys;
        progress.Add();
      },
      damaged));
  return keys;
}

std::string FamilyText(const Json& family) {
  std::string text =
      HumanBytes(family["bytes"].get<uint64_t>()) + " in " + family["files"].dump() + " tables";
  for (const Json& level : family["levels"]) {
    text += ", L" + level["level"].dump() + " " + HumanBytes(level["bytes"].get<uint64_t>());
  }
  return text;
}

std::string StartText(const Json& start) {
  if (start.is_null()) return "not looked into";
  if (!start["would_start"].get<bool>()) return "no: " + start["why"].get<std::string>();
  const auto entries = start["entries_to_replay"].get<uint64_t>();
  std::string text = "yes, with nothing to replay";
  if (entries > 0) {
    text = "yes, after applying " + std::to_string(entries) + " entries from the log, " +
           start["replay_from"].dump() + " to " + start["replay_to"].dump();
  }
  if (const Json& known = start["hard_state_from_fence"]; !known.is_null()) {
    text += "; in term " + known["term"].dump() + ", as the fence says: the database forgot that";
  }
  if (const Json& lost = start["lost_acknowledged"]; !lost.is_null()) {
    text += ", but can't be elected: " + lost.get<std::string>() +
            ". Until it has fetched what is missing from the other members it votes for no node "
            "that lacks it";
  }
  return text;
}

std::string WalText(const Json& wal) {
  if (wal.is_null()) return "in use by the running node";
  uint64_t bytes = 0;
  uint64_t records = 0;
  for (const Json& file : wal["files"]) {
    bytes += file["bytes"].get<uint64_t>();
    records += file["records"].get<uint64_t>();
  }
  std::string text = std::to_string(wal["files"].size()) + " files, " + HumanBytes(bytes) + ", " +
                     std::to_string(records) + " records";
  if (wal.contains("torn")) {
    text += "; a crash cut off a write in " + wal["torn"]["file"].get<std::string>() +
            " at offset " + wal["torn"]["offset"].dump() + " (" + wal["torn"]["bytes"].dump() +
            " bytes, dropped by a start)";
  }
  return text;
}

std::string ToText(const Json& json) {
  std::string out;
  const auto line = [&](const std::string& label, const std::string& words) {
    AppendLine(label, words, &out);
  };
  line("node", EscapeText(json["node_name"].get<std::string>()) + ", id " +
                   json["node_id"].get<std::string>() + ", cluster " +
                   json["cluster_id"].get<std::string>() + ", format " +
                   json["format_version"].dump());
  line("hard state", Words(json["hard_state"]));
  const Json& members = json["membership"];
  line("membership", members.is_null()
                         ? "unknown"
                         : ConfigText(members) + " (of index " + members["index"].dump() + ")");
  const Json& log = json["log"];
  line("log", log["first"].is_null() ? "empty"
                                     : log["first"].dump() + " to " + log["last"].dump() +
                                           ", last term " + Words(log["last_term"]));
  line("committed", "at least to " + Words(log["commit_floor"]));
  const Json& applied = json["applied"];
  line("applied", applied.is_null()
                      ? "nothing was flushed"
                      : "index " + applied["index"].dump() + " term " + applied["term"].dump() +
                            ", durable; its clock " + TimeText(applied["time_ms"].get<uint64_t>()));
  if (!applied.is_null()) {
    line("revision",
         applied["revision"].dump() + ", compacted to " + applied["compact_revision"].dump());
    line("live keys", json["live_keys"].is_null() ? "not counted" : json["live_keys"].dump());
    line("sessions", applied["sessions"].dump() + " of at most " + applied["sessions_max"].dump() +
                         ", each for " + applied["session_ttl_ms"].dump() + " ms");
  }
  line("alarms", Words(json["alarms"]));
  for (const Json& family : json["column_families"]) {
    line("family " + family["name"].get<std::string>(), FamilyText(family));
  }
  line("WAL", WalText(json["wal"]));
  line("would start", StartText(json["start"]));
  return out;
}

// Without the database: what the files say from outside.
Json ReadOutside(const std::string& path, const std::string& why) {
  std::string name;
  std::getline(std::ifstream(path + "/" + kMemberMarker), name);
  uint64_t tables = 0;
  uint64_t bytes = 0;
  std::error_code error;
  std::filesystem::directory_iterator it(path + "/db", error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (it->path().extension() != ".sst") continue;
    std::error_code gone;
    ++tables;
    const uint64_t size = it->file_size(gone);
    if (!gone) bytes += size;
  }
  const StatusOr<wal::WalScan> wal = wal::ScanWalFiles(path + "/db");
  return {{"type", "summary"},
          {"path", path},
          {"node_name", name.empty() ? Json(nullptr) : Json(name)},
          {"tables", {{"files", tables}, {"bytes", bytes}}},
          {"wal", wal.ok() ? WalJson(*wal) : Json(nullptr)},
          {"start", {{"would_start", false}, {"why", why}}}};
}

std::string OutsideText(const Json& json) {
  std::string out;
  AppendLine("node", Words(json["node_name"]) + " (the database can't be opened)", &out);
  AppendLine(
      "tables",
      json["tables"]["files"].dump() + ", " + HumanBytes(json["tables"]["bytes"].get<uint64_t>()),
      &out);
  AppendLine("WAL", json["wal"].is_null() ? "damaged" : WalText(json["wal"]), &out);
  AppendLine("would start", StartText(json["start"]), &out);
  return out;
}

class SummaryCommand : public DirectoryCommand {
 public:
  explicit SummaryCommand(CLI::App* app)
      : DirectoryCommand(
            app,
            {.name = "summary",
             .description = "One screen: whose directory it is, how far log and applied state "
                            "go, what takes space, what a restart would replay, and whether it "
                            "would start",
             .example = "raftkv-dump summary data/n1",
             .shape = Shape::kDocument},
            Live::kAllowed) {
    this->app()->add_flag("--quick", quick_, "Don't count keys; don't verify the whole log");
  }

 private:
  Status RunOn(const NodeDirectory& directory, Report* report) override;
  Status RunWithout(const Status& why, Report* report) override;
  StatusOr<Json> Read(const NodeDirectory& directory, Report* report);
  Json StartJson(const NodeDirectory& directory);

  bool quick_ = false;
  std::vector<std::string> problems_;  // to be reported after the record
};

Json SummaryCommand::StartJson(const NodeDirectory& directory) {
  // A running node has started, and what it writes meanwhile would look like a contradiction.
  if (quick_ || directory.live()) return nullptr;
  const StatusOr<StartOutlook> outlook = ForeseeStart(directory.path(), directory.engine());
  if (!outlook.ok()) {
    problems_.push_back("a node would not start: " + outlook.status().message());
    return {{"would_start", false}, {"why", outlook.status().message()}};
  }
  const Index applied = outlook->applied.position.index;
  const wal::StartVerdict& verdict = outlook->verdict;
  if (!verdict.lost.empty()) problems_.push_back(verdict.lost);
  return {{"would_start", true},
          {"entries_to_replay", outlook->replay_to - applied},
          {"replay_from", applied.value() + 1},
          {"replay_to", outlook->replay_to.value()},
          {"hard_state_from_fence",
           verdict.forgot_vote ? HardStateJson(verdict.hard_state) : Json(nullptr)},
          {"lost_acknowledged", verdict.lost.empty() ? Json(nullptr) : Json(verdict.lost)}};
}

StatusOr<Json> SummaryCommand::Read(const NodeDirectory& directory, Report* report) {
  store::Engine* const engine = directory.engine();
  const LogMeta meta = ReadLogMeta(engine);
  RAFTKV_ASSIGN_OR_RETURN(const LogBounds bounds, ReadLogBounds(engine, meta));
  std::optional<Term> last_term;
  if (bounds.first <= bounds.last) {
    RAFTKV_RETURN_IF_ERROR(ForEachRecord(engine, bounds.last, bounds.last, [&](const auto& record) {
      if (record.entry.ok()) last_term = record.entry->term;
    }));
  }
  std::vector<Configuration> configurations;
  {
    Progress progress(report, "reading the log", "entries", bounds.last + 1 - bounds.first);
    RAFTKV_ASSIGN_OR_RETURN(configurations,
                            ReadConfigurations(
                                engine, meta, [&] { progress.Add(); },
                                [&](const std::string& damage) { problems_.push_back(damage); }));
  }
  const StatusOr<store::AppliedRecord> applied = ReadApplied(engine);
  if (!applied.ok() && applied.status().code() != Code::kNotFound) {
    problems_.push_back("the applied record: " + applied.status().message());
  }
  const StatusOr<store::ClusterState> cluster = store::ReadClusterState(engine->db(), engine->kv());
  if (!cluster.ok()) {
    problems_.push_back("the applied configuration and alarms: " + cluster.status().message());
  }
  Json live_keys;
  if (!quick_ && applied.ok()) {
    RAFTKV_ASSIGN_OR_RETURN(
        live_keys, CountLiveKeys(engine, applied->revision, report, [&](const Status& damage) {
          problems_.push_back(damage.message());
        }));
  }
  const store::FamilyHandle kv = engine->kv();
  Json families = Json::array();
  for (auto* const handle : {engine->raft_meta(), engine->raft_log(), kv.get()}) {
    families.push_back(FamilyJson(engine, handle));
  }
  const store::NodeIdentity& identity = engine->identity();
  return Json{{"type", "summary"},
              {"path", directory.path()},
              {"live", directory.live()},
              {"format_version", identity.format_version},
              {"cluster_id", IdText(identity.cluster.value())},
              {"node_id", IdText(identity.node.value())},
              {"node_name", identity.node_name},
              {"hard_state", HardStateJson(meta.hard_state)},
              {"membership", NewestConfiguration(configurations)},
              {"log", LogJson(meta, bounds, last_term)},
              {"applied", AppliedJson(applied)},
              {"live_keys", live_keys},
              {"alarms", AlarmsJson(cluster)},
              {"column_families", families},
              {"wal", directory.live() ? Json(nullptr) : WalJson(directory.scan())},
              {"start", StartJson(directory)}};
}

Status SummaryCommand::RunOn(const NodeDirectory& directory, Report* report) {
  RAFTKV_ASSIGN_OR_RETURN(const Json json, Read(directory, report));
  report->Record([&] { return ToText(json); }, [&] { return json; });
  for (const std::string& problem : problems_) report->Problem(problem);
  return Status::Ok();
}

Status SummaryCommand::RunWithout(const Status& why, Report* report) {
  if (why.code() != Code::kCorruption) return why;
  const Json json = ReadOutside(path(), why.message());
  report->Record([&] { return OutsideText(json); }, [&] { return json; });
  return why;
}

}  // namespace

std::unique_ptr<Command> MakeSummaryCommand(CLI::App* app) {
  return std::make_unique<SummaryCommand>(app);
}

}  // namespace raftkv::tools::dump
