// raftkv-dump history: every version of one key, and the log entries that made them.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include <rocksdb/iterator.h>

#include "common/crc32c.h"
#include "store/command.h"
#include "store/mvcc.h"
#include "tools/dump/commands.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/facts.h"
#include "tools/dump/key_changes.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/rebuild_flags.h"
#include "tools/dump/state_reader.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

// An entry that may have changed the key.
struct Candidate {
  Index index;
  Term term;
  std::string op;
  uint64_t request_id = 0;
  uint64_t time_ms = 0;
  store::SessionRef session;
  std::vector<KeyEffect> effects;
  bool repeated = false;                // a retry: an earlier entry has its session and sequence
  std::optional<store::Revision> made;  // the version that it made
};

struct Version {
  bool tombstone = false;
  int64_t create_revision = 0;
  int64_t version = 0;
  uint64_t value_bytes = 0;
  uint32_t value_crc = 0;
  std::string value;  // with --values
  const Candidate* by = nullptr;
  bool certain = false;  // by replay, not by what the entry says alone
};

using Versions = std::map<store::Revision, Version>;

class HistoryCommand : public DirectoryCommand {
 public:
  explicit HistoryCommand(CLI::App* app)
      : DirectoryCommand(app,
                         {.name = "history",
                          .description = "Every version of a key that is still there, and the log "
                                         "entries that made them, in order of time",
                          .example = "raftkv-dump history data/n1 config/limits"}) {
    this->app()->add_option("key", key_, "The key")->required();
    this->app()->add_flag("--hex-input", hex_input_, "The key is hexadecimal");
    this->app()->add_flag("--values", values_, "Show the values too");
    flags_.AddTo(this->app(), /*to_is_required=*/false);
  }

 private:
  Status Prepare() override;
  Status RunOn(const NodeDirectory& directory, Report* report) override;

  Status ReadLog(const NodeDirectory& directory, Report* report);
  Status ReadVersions(store::Engine* engine, Report* report);
  Status Replay(const NodeDirectory& directory, Report* report);
  void Match(const std::map<Index, Candidate*>& by_index);
  void MatchTheOlder();
  void ReportLog(Report* report) const;
  void ReportVersion(store::Revision revision, const Version& version, Report* report) const;
  void ReportIdle(const Candidate& candidate, Report* report) const;
  std::string ByText(const Version& version) const;

  std::string key_;
  bool hex_input_ = false;
  bool values_ = false;
  RebuildFlags flags_;

  LogBounds bounds_;
  std::vector<Candidate> candidates_;  // in order of the log
  Versions versions_;
  store::AppliedRecord state_;  // what versions_ are of
  LogPosition replayed_from_;   // entries after it were replayed
  int64_t replayed_from_revision_ = 1;
  bool replayed_ = false;
};

Status HistoryCommand::Prepare() {
  if (hex_input_) {
    const std::optional<std::string> key = FromHex(key_);
    if (!key) return Status(Code::kInvalidArgument, "'" + key_ + "' is not hexadecimal");
    key_ = *key;
  }
  return flags_.Prepare();
}

Status HistoryCommand::RunOn(const NodeDirectory& directory, Report* report) {
  RAFTKV_RETURN_IF_ERROR(ReadLog(directory, report));
  RAFTKV_RETURN_IF_ERROR(ReadVersions(directory.engine(), report));
  if (const Status status = Replay(directory, report); status.code() == Code::kCorruption) {
    report->Problem("what the log adds to the stored state can't be had: " + status.message());
  } else if (!status.ok()) {
    return status;
  }
  MatchTheOlder();
  ReportLog(report);
  auto idle = candidates_.begin();
  const auto report_idle_before = [&](Index index) {
    for (; idle != candidates_.end() && idle->index <= index; ++idle) {
      if (!idle->made && replayed_ && idle->index > replayed_from_.index) ReportIdle(*idle, report);
    }
  };
  for (const auto& [revision, version] : versions_) {
    if (version.by != nullptr) report_idle_before(version.by->index);
    ReportVersion(revision, version, report);
  }
  report_idle_before(bounds_.last);
  report->Record([&] { return std::to_string(versions_.size()) + " versions"; },
                 [&] {
                   return Json{{"type", "end"},
                               {"versions", versions_.size()},
                               {"problems", report->problems()}};
                 });
  return Status::Ok();
}

// Fills candidates_.
Status HistoryCommand::ReadLog(const NodeDirectory& directory, Report* report) {
  const LogMeta meta = ReadLogMeta(directory.engine());
  RAFTKV_ASSIGN_OR_RETURN(bounds_, ReadLogBounds(directory.engine(), meta));
  if (bounds_.first > bounds_.last) return Status::Ok();
  std::set<std::pair<std::string, uint64_t>> seen;
  return ForEachRecord(
      directory.engine(), bounds_.first, bounds_.last, [&](const LogRecord& record) {
        if (!record.missing_to.none()) {
          report->Problem("log entries " + std::to_string(record.index.value()) + " to " +
                          std::to_string(record.missing_to.value()) + " are missing");
          return;
        }
        if (!record.entry.ok()) {
          report->Problem(record.entry.status().message());
          return;
        }
        const wal::EntryView& entry = *record.entry;
        std::vector<KeyEffect> effects = EffectsOn(entry.kind, entry.payload, key_);
        if (effects.empty()) return;
        const store::Command command = store::DecodeCommand(entry.payload).value();
        Candidate candidate{.index = record.index,
                            .term = entry.term,
                            .op = std::string(store::CommandTypeName(command.type)),
                            .request_id = command.request_id,
                            .time_ms = command.time_ms,
                            .session = command.session,
                            .effects = std::move(effects)};
        if (command.session.present()) {
          candidate.repeated =
              !seen.emplace(command.session.client, command.session.sequence).second;
        }
        candidates_.push_back(std::move(candidate));
      });
}

// Adds to versions_ what `engine` holds, and takes its applied record for what they are of. Damage
// is passed over without a `report`: of a copy of what was read before.
Status HistoryCommand::ReadVersions(store::Engine* engine, Report* report) {
  StatusOr<store::AppliedRecord> applied = ReadApplied(engine);
  if (applied.ok()) {
    state_ = *applied;
  } else if (applied.status().code() != Code::kNotFound && report != nullptr) {
    report->Problem(applied.status().message());
  }
  const std::string prefix = store::DataPrefix(key_);
  const std::unique_ptr<rocksdb::Iterator> it(
      engine->db()->NewIterator(rocksdb::ReadOptions(), engine->kv().get()));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    const std::string_view data_key(it->key().data(), it->key().size());
    std::string user_key;
    store::Revision revision;
    store::DataRecord record;
    Status status = store::DecodeDataKey(data_key, &user_key, &revision);
    if (status.ok()) {
      status = store::DecodeDataRecord(data_key, {it->value().data(), it->value().size()}, &record);
    }
    if (!status.ok()) {
      if (report != nullptr) report->Problem(status.message());
      continue;
    }
    Version& version = versions_[revision];
    version.tombstone = record.tombstone;
    version.create_revision = record.create_revision;
    version.version = record.version;
    version.value_bytes = record.value.size();
    version.value_crc = Crc32c(record.value);
    if (values_) version.value = record.value;
  }
  return store::FromRocksDb(it->status(), "reading the versions");
}

// Applies the log to the stored state, or from the start where that is in the log, and sees which
// entry makes which version.
Status HistoryCommand::Replay(const NodeDirectory& directory, Report* report) {
  std::map<Index, Candidate*> by_index;
  for (Candidate& candidate : candidates_) by_index.emplace(candidate.index, &candidate);
  const std::string prefix = store::DataPrefix(key_);
  std::map<Index, std::pair<int64_t, store::Revision>> newest;  // by entry: revision, version
  RebuildOptions& options = flags_.options();
  options.report = report;
  options.prefer_empty = true;
  options.alone = [&](const Entry& entry) { return by_index.contains(entry.index); };
  options.applied = [&](const Entry& entry, store::Engine* engine, int64_t revision) {
    const std::unique_ptr<rocksdb::Iterator> it(
        engine->db()->NewIterator(rocksdb::ReadOptions(), engine->kv().get()));
    it->Seek(prefix);
    if (!it->Valid() || !it->key().starts_with(prefix)) return;
    newest[entry.index] = {revision, store::DataKeyRevision({it->key().data(), it->key().size()})};
  };
  RAFTKV_ASSIGN_OR_RETURN(const auto state,
                          RebuiltState::Make(directory, flags_.scratch(), options));
  replayed_ = true;
  replayed_from_ = state->base_position();
  replayed_from_revision_ = state->base_revision();
  std::set<store::Revision> made;
  for (const auto& [index, at] : newest) {
    // A version that was there before is not this entry's.
    if (at.second.main != at.first || at.first <= replayed_from_revision_) continue;
    if (made.insert(at.second).second) by_index.at(index)->made = at.second;
  }
  RAFTKV_RETURN_IF_ERROR(ReadVersions(state->engine(), nullptr));
  for (const auto& [index, candidate] : by_index) {
    if (!candidate->made) continue;
    const auto version = versions_.find(*candidate->made);
    if (version == versions_.end()) continue;
    version->second.by = candidate;
    version->second.certain = true;
  }
  return Status::Ok();
}

// Versions that were applied before what was replayed: the entry is the last one that could have
// made it, from the newest version backwards.
void HistoryCommand::MatchTheOlder() {
  auto candidate = candidates_.rbegin();
  while (candidate != candidates_.rend() && replayed_ && candidate->index > replayed_from_.index) {
    ++candidate;
  }
  for (auto it = versions_.rbegin(); it != versions_.rend(); ++it) {
    Version& version = it->second;
    if (version.by != nullptr || (replayed_ && it->first.main > replayed_from_revision_)) continue;
    const auto fits = [&version](const KeyEffect& effect) {
      return effect.tombstone == version.tombstone &&
             (effect.tombstone || effect.keeps_value ||
              (effect.value_bytes == version.value_bytes && effect.value_crc == version.value_crc));
    };
    const auto found = std::find_if(candidate, candidates_.rend(), [&](const Candidate& c) {
      return !c.repeated && std::any_of(c.effects.begin(), c.effects.end(), fits);
    });
    if (found == candidates_.rend()) continue;
    version.by = &*found;
    found->made = it->first;
    candidate = std::next(found);
  }
}

void HistoryCommand::ReportLog(Report* report) const {
  report->Record(
      [&] {
        std::string text = "key \"" + EscapeText(key_) + "\", log ";
        text += bounds_.first > bounds_.last ? "empty"
                                             : std::to_string(bounds_.first.value()) + " to " +
                                                   std::to_string(bounds_.last.value());
        if (bounds_.first > Index(1)) {
          text += " (cut: entries before " + std::to_string(bounds_.first.value()) + " are gone)";
        }
        text += ", state at index " + std::to_string(state_.position.index.value()) + " revision " +
                std::to_string(state_.revision);
        if (state_.compact_revision > 0) {
          text += ", compacted at revision " + std::to_string(state_.compact_revision) +
                  " (older versions may be gone, and can't be read by clients)";
        }
        return text;
      },
      [&] {
        Json json{{"type", "history"}, {"key", Base64(key_)}};
        json["log_first"] = bounds_.first.value();
        json["log_last"] = bounds_.last.value();
        json["index"] = state_.position.index.value();
        json["revision"] = state_.revision;
        json["compact_revision"] = state_.compact_revision;
        json["replayed_from"] = replayed_ ? Json(replayed_from_.index.value()) : Json(nullptr);
        return json;
      });
}

std::string CandidateText(const Candidate& by) {
  std::string text = "index " + std::to_string(by.index.value()) + " term " +
                     std::to_string(by.term.value()) + ", " + by.op + ", request " +
                     IdText(by.request_id);
  if (by.session.present()) {
    text += ", session " + EscapeText(by.session.client) + " sequence " +
            std::to_string(by.session.sequence);
  }
  if (by.time_ms != 0) text += ", " + TimeText(by.time_ms);
  return text;
}

Json CandidateJson(const Candidate& by) {
  Json json{{"index", by.index.value()},
            {"term", by.term.value()},
            {"op", by.op},
            {"request_id", IdText(by.request_id)},
            {"time_ms", by.time_ms}};
  if (by.session.present()) {
    json["session"] = EscapeText(by.session.client);
    json["sequence"] = by.session.sequence;
  }
  return json;
}

std::string HistoryCommand::ByText(const Version& version) const {
  if (version.by != nullptr) {
    return (version.certain ? "by " : "probably by ") + CandidateText(*version.by);
  }
  if (bounds_.first > Index(1)) return "its entry was cut off the log";
  return "no entry of the log says so (it came with a snapshot or a restore)";
}

void HistoryCommand::ReportVersion(store::Revision revision, const Version& version,
                                   Report* report) const {
  report->Record(
      [&] {
        std::string text = "revision " + std::to_string(revision.main);
        if (revision.sub > 0) text += "." + std::to_string(revision.sub);
        if (version.tombstone) {
          text += "  deleted";
        } else {
          text += "  create " + std::to_string(version.create_revision) + " version " +
                  std::to_string(version.version) + "  put " + std::to_string(version.value_bytes) +
                  " bytes";
          if (values_) text += " \"" + EscapeText(version.value) + "\"";
        }
        return text + "  " + ByText(version);
      },
      [&] {
        Json json{{"type", "version"},
                  {"revision", revision.main},
                  {"sub", revision.sub},
                  {"deleted", version.tombstone}};
        if (!version.tombstone) {
          json["create_revision"] = version.create_revision;
          json["version"] = version.version;
          json["value_bytes"] = version.value_bytes;
          if (values_) json["value"] = Base64(version.value);
        }
        json["by"] = version.by != nullptr ? CandidateJson(*version.by) : Json(nullptr);
        if (version.by != nullptr) json["certain"] = version.certain;
        return json;
      });
}

void HistoryCommand::ReportIdle(const Candidate& candidate, Report* report) const {
  const char* const why =
      candidate.repeated ? "a retry, not applied again" : "changed nothing of the key";
  report->Record([&] { return "  (" + CandidateText(candidate) + ": " + why + ")"; },
                 [&] {
                   Json json = CandidateJson(candidate);
                   json["type"] = "entry";
                   json["effect"] = why;
                   return json;
                 });
}

}  // namespace

std::unique_ptr<Command> MakeHistoryCommand(CLI::App* app) {
  return std::make_unique<HistoryCommand>(app);
}

}  // namespace raftkv::tools::dump
