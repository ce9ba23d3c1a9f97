// raftkv-dump wal: RocksDB's WAL files, record by record.
#include <map>
#include <optional>
#include <vector>

#include "store/engine_files.h"
#include "store/engine_options.h"
#include "tools/dump/commands.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory.h"
#include "tools/dump/manifest.h"
#include "tools/dump/progress.h"
#include "tools/dump/wal_records.h"
#include "tools/support/text.h"
#include "wal/entry_codec.h"
#include "wal/keys.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools::dump {
namespace {

using Families = std::map<uint32_t, std::string>;

std::string FamilyName(const Families& families, uint32_t id) {
  const auto found = families.find(id);
  return found != families.end() ? found->second : "family " + std::to_string(id);
}

// What an update of raft_log says of its entry.
void DescribeEntry(Index index, const WalUpdate& update, Json* json) {
  (*json)["index"] = index.value();
  if (update.kind == WalUpdateKind::kDeleteRange) {
    const std::optional<Index> end = wal::ParseLogKey(update.value);
    (*json)["end"] = end ? Json(end->value()) : Json(Base64(update.value));
  }
  if (update.kind != WalUpdateKind::kPut) return;
  const StatusOr<wal::EntryView> entry = wal::DecodeEntryView(index, update.value);
  (*json)["crc"] = entry.ok() ? "ok" : entry.status().message();
  if (!entry.ok()) return;
  (*json)["term"] = entry->term.value();
  (*json)["kind"] = EntryKindName(entry->kind);
}

Json UpdateJson(const Families& families, const WalUpdate& update) {
  const std::string family = FamilyName(families, update.family);
  Json json{{"op", WalUpdateKindName(update.kind)}, {"family", family}};
  const std::optional<Index> index = wal::ParseLogKey(update.key);
  if (family == store::kRaftLogFamily && index) {
    DescribeEntry(*index, update, &json);
  } else {
    json["key"] = Base64(update.key);
    if (update.kind == WalUpdateKind::kDeleteRange) json["end"] = Base64(update.value);
  }
  if (update.kind == WalUpdateKind::kPut) json["bytes"] = update.value.size();
  if (family == store::kRaftMetaFamily && update.key == wal::kHardStateKey) {
    const StatusOr<HardState> state = wal::DecodeHardState(update.value);
    json["crc"] = state.ok() ? "ok" : state.status().message();
    if (state.ok()) {
      json["term"] = state->term.value();
      json["vote"] = IdText(state->vote.value());
      json["commit"] = state->commit.value();
    }
  }
  return json;
}

// From the JSON, so that text says what JSON says.
std::string UpdateText(const Json& update) {
  std::string text =
      "\n    " + update["op"].get<std::string>() + " " + update["family"].get<std::string>();
  for (const auto& [name, value] : update.items()) {
    if (name == "op" || name == "family") continue;
    const bool is_key = name == "key" || name == "end";
    text += " " + name + " " +
            (!value.is_string() ? value.dump()
             : is_key ? "\"" + EscapeText(FromBase64(value.get<std::string>()).value_or("")) + "\""
                      : EscapeText(value.get<std::string>()));
  }
  return text;
}

class WalCommand : public Command {
 public:
  explicit WalCommand(CLI::App* app)
      : Command(app,
                {.name = "wal",
                 .description =
                     "RocksDB's WAL files, record by record: offset, sequence number and what is "
                     "changed. They hold the newest part of the Raft log and of raft_meta; the "
                     "applied state (kv) is never in them. Works where the directory can't be "
                     "opened as a whole, and stops at damage, saying where it is",
                 .example = "raftkv-dump wal data/n1 --family raft_meta"}) {
    AddDirectory(&path_);
    this->app()->add_option("--family", family_, "Only changes of this column family");
    this->app()->add_option("--index", index_, "Only records that change this index of the log");
    this->app()->add_option("--limit", limit_, "At most so many records");
  }

 private:
  Status Run(Report* report) override;
  Status ShowFile(const store::WalFile& file, Report* report);
  void ShowRecord(const std::string& name, const WalRecord& record, Report* report);
  Json Wanted(const WalRecord& record) const;
  void ShowEnd(const StatusOr<wal::WalScan>& scan, Report* report) const;

  std::string path_;
  std::string family_;
  std::optional<uint64_t> index_;
  std::optional<uint64_t> limit_;

  Families families_;
  uint64_t records_ = 0;  // there are
  uint64_t shown_ = 0;
  // Of the last one in the last file that has any.
  std::string last_file_;
  uint64_t last_offset_ = 0;
  uint64_t last_sequence_ = 0;
};

// The updates to show; null when the record is not wanted at all.
Json WalCommand::Wanted(const WalRecord& record) const {
  Json updates = Json::array();
  bool has_index = !index_.has_value();
  for (const WalUpdate& update : record.updates) {
    if (!family_.empty() && FamilyName(families_, update.family) != family_) continue;
    Json json = UpdateJson(families_, update);
    has_index = has_index || (json.contains("index") && json["index"] == *index_);
    updates.push_back(std::move(json));
  }
  const bool filtered = !family_.empty() || index_.has_value();
  return !has_index || (filtered && updates.empty()) ? Json() : updates;
}

void WalCommand::ShowRecord(const std::string& name, const WalRecord& record, Report* report) {
  ++records_;
  last_file_ = name;
  last_offset_ = record.offset;
  last_sequence_ = record.sequence;
  if (!record.status.ok()) {
    report->Problem("the record at offset " + std::to_string(record.offset) + " of " + name + ": " +
                        record.status.message(),
                    {{"file", name}, {"offset", record.offset}});
    return;
  }
  if (limit_ && shown_ >= *limit_) return;
  const Json updates = Wanted(record);
  if (updates.is_null()) return;
  ++shown_;
  report->Record(
      [&] {
        std::string text = "  offset " + std::to_string(record.offset) + " sequence " +
                           std::to_string(record.sequence) + ", " + std::to_string(record.bytes) +
                           " bytes" + (updates.empty() ? ", changes nothing" : "");
        for (const Json& update : updates) text += UpdateText(update);
        return text;
      },
      [&] {
        return Json{{"type", "record"},        {"file", name},
                    {"offset", record.offset}, {"sequence", record.sequence},
                    {"bytes", record.bytes},   {"updates", updates}};
      });
}

Status WalCommand::ShowFile(const store::WalFile& file, Report* report) {
  const std::string name = file.path.substr(file.path.rfind('/') + 1);
  if (report->output().format == Format::kText) {
    report->Record([&] { return name; }, [] { return Json(); });
  }
  Progress progress(report, "reading " + name, "records");
  RAFTKV_ASSIGN_OR_RETURN(const wal::WalFileScan scan,
                          ForEachWalRecord(file, [&](const WalRecord& record) {
                            ShowRecord(name, record, report);
                            progress.Add();
                          }));
  report->Record(
      [&] {
        std::string text = "  " + std::to_string(scan.report.records) + " records, " +
                           std::to_string(scan.report.valid_bytes) + " of " +
                           std::to_string(scan.report.bytes) + " bytes";
        if (!scan.damage.empty()) {
          text += "; at offset " + std::to_string(scan.damage_offset) + " " + scan.damage;
          text += scan.intact_offset
                      ? ", and intact records follow at " + std::to_string(*scan.intact_offset)
                      : ", and nothing intact follows";
        }
        return text;
      },
      [&] {
        Json json{{"type", "file"},
                  {"name", name},
                  {"bytes", scan.report.bytes},
                  {"valid_bytes", scan.report.valid_bytes},
                  {"records", scan.report.records}};
        if (!scan.damage.empty()) {
          json["damage"] = {
              {"offset", scan.damage_offset},
              {"what", scan.damage},
              {"intact_offset", scan.intact_offset ? Json(*scan.intact_offset) : Json(nullptr)}};
        }
        return json;
      });
  return Status::Ok();
}

// How the files end as a whole, and how far they are known to have been synced.
void WalCommand::ShowEnd(const StatusOr<wal::WalScan>& scan, Report* report) const {
  const bool torn = scan.ok() && scan->recovery == store::WalRecovery::kTornTail;
  report->Record(
      [&] {
        std::string text = std::to_string(records_) + " records";
        if (torn) {
          text += "\na crash cut off a write in " + scan->torn_file + " at offset " +
                  std::to_string(scan->torn_offset) + ": " + std::to_string(scan->torn_bytes) +
                  " bytes that were not acknowledged; a start drops them";
        }
        if (records_ > 0) {
          text += "\nall before the record at offset " + std::to_string(last_offset_) + " of " +
                  last_file_ +
                  " was synced before that one was written; whether that one was, the files don't "
                  "say";
        }
        return text;
      },
      [&] {
        Json json{{"type", "end"},
                  {"records", records_},
                  {"tail", !scan.ok() ? "damaged"
                           : torn     ? "torn"
                                      : "clean"}};
        if (torn) {
          json["torn"] = {{"file", scan->torn_file},
                          {"offset", scan->torn_offset},
                          {"bytes", scan->torn_bytes}};
        }
        if (records_ > 0) {
          json["synced_before"] = {
              {"file", last_file_}, {"offset", last_offset_}, {"sequence", last_sequence_}};
        }
        json["problems"] = report->problems();
        return json;
      });
}

Status WalCommand::Run(Report* report) {
  RAFTKV_RETURN_IF_ERROR(NodeDirectory::CheckStopped(path_));
  const std::string db_path = path_ + "/db";
  const StatusOr<Manifest> manifest = ReadManifest(db_path);
  // Its own problem, which `files` reports; the WAL can be read without.
  families_ = manifest.ok() ? manifest->families : UsualFamilies();
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<store::WalFile> files, store::WalFiles(db_path));
  for (const store::WalFile& file : files) RAFTKV_RETURN_IF_ERROR(ShowFile(file, report));
  const StatusOr<wal::WalScan> scan = wal::ScanWalFiles(db_path);
  if (scan.status().code() == Code::kCorruption) {
    report->Problem(scan.status().message());
  } else if (!scan.ok()) {
    return scan.status();
  }
  ShowEnd(scan, report);
  return NodeDirectory::CheckStopped(path_);
}

}  // namespace

std::unique_ptr<Command> MakeWalCommand(CLI::App* app) { return std::make_unique<WalCommand>(app); }

}  // namespace raftkv::tools::dump
