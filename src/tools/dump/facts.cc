#include "tools/dump/facts.h"

#include <ctime>

#include "rpc.pb.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {

Json PositionJson(const LogPosition& position) {
  return {{"index", position.index.value()}, {"term", position.term.value()}};
}

Json HardStateJson(const StatusOr<HardState>& state) {
  if (!state.ok()) return nullptr;
  return {{"term", state->term.value()},
          {"vote", state->vote.none() ? Json(nullptr) : Json(IdText(state->vote.value()))},
          {"commit", state->commit.value()}};
}

Json AppliedJson(const StatusOr<store::AppliedRecord>& applied) {
  if (!applied.ok()) return nullptr;
  return {{"index", applied->position.index.value()},
          {"term", applied->position.term.value()},
          {"revision", applied->revision},
          {"compact_revision", applied->compact_revision},
          {"compacted_to", applied->compacted_to},
          {"time_ms", applied->time_ms},
          {"sessions", applied->sessions},
          {"bumped_to", applied->bumped_to},
          {"sessions_max", applied->session_limits.sessions_max},
          {"session_ttl_ms", applied->session_limits.ttl_ms}};
}

Json AlarmsJson(const StatusOr<store::ClusterState>& cluster) {
  if (!cluster.ok()) return nullptr;
  Json json = Json::array();
  for (const store::Alarm& alarm : cluster->alarms) {
    const auto type = static_cast<etcdserverpb::AlarmType>(alarm.type);
    json.push_back(
        {{"member", IdText(alarm.member.value())}, {"alarm", etcdserverpb::AlarmType_Name(type)}});
  }
  return json;
}

Json WalJson(const wal::WalScan& scan) {
  Json files = Json::array();
  for (const wal::WalFileReport& file : scan.files) {
    files.push_back({{"name", file.name},
                     {"bytes", file.bytes},
                     {"valid_bytes", file.valid_bytes},
                     {"records", file.records}});
  }
  const bool torn = scan.recovery == store::WalRecovery::kTornTail;
  Json json{{"tail", torn ? "torn" : "clean"}};
  if (torn) {
    json["torn"] = {
        {"file", scan.torn_file}, {"offset", scan.torn_offset}, {"bytes", scan.torn_bytes}};
  }
  json["files"] = std::move(files);
  return json;
}

std::string Words(const Json& json) {
  if (json.is_null()) return "none";
  if (json.is_string()) return EscapeText(json.get_ref<const std::string&>());
  if (!json.is_structured()) return json.dump();
  std::string out;
  for (const auto& [name, value] : json.items()) {
    if (!out.empty()) out += json.is_array() ? " " : ", ";
    out += json.is_array() ? Words(value) : name + " " + Words(value);
  }
  return out.empty() ? "none" : out;
}

void AppendLine(const std::string& label, const std::string& words, std::string* text) {
  constexpr size_t kLabelWidth = 18;
  if (!text->empty()) text->push_back('\n');
  text->append(label);
  text->append(label.size() < kLabelWidth ? kLabelWidth - label.size() : 1, ' ');
  text->append(words);
}

std::string TimeText(uint64_t ms_since_epoch) {
  const auto seconds = static_cast<time_t>(ms_since_epoch / 1000);
  struct tm utc = {};
  char text[64];
  // A damaged or foreign clock may be beyond any calendar.
  if (gmtime_r(&seconds, &utc) == nullptr ||
      strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
    return std::to_string(ms_since_epoch) + " ms";
  }
  const std::string ms = std::to_string(1000 + ms_since_epoch % 1000).substr(1);
  return std::string(text) + "." + ms + "Z";
}

}  // namespace raftkv::tools::dump
