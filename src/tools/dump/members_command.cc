// raftkv-dump members: who belongs to the cluster, as far as this directory knows.
#include <map>
#include <optional>
#include <vector>

#include "rpc.pb.h"
#include "store/cluster_state.h"
#include "store/kv_kinds.h"
#include "store/mvcc.h"
#include "tools/dump/commands.h"
#include "tools/dump/configurations.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/kv_records.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

using Attributes = std::map<NodeId, etcdserverpb::Member>;

// What members have published of themselves, in the applied state.
StatusOr<Attributes> ReadAttributes(store::Engine* engine, Report* report) {
  Attributes attributes;
  RAFTKV_RETURN_IF_ERROR(ForEachKvRecord(
      engine, store::kMemberKind, [&](std::string_view key, std::string_view bytes) {
        NodeId id;
        Status status = store::DecodeMemberKey(key, &id);
        if (status.ok()) {
          const StatusOr<std::string_view> body = store::DecodeMemberRecord(key, bytes);
          status = body.status();
          if (body.ok() &&
              !attributes[id].ParseFromArray(body->data(), static_cast<int>(body->size()))) {
            status = Status(Code::kCorruption,
                            "the attributes of member " + IdText(id.value()) + " do not parse");
          }
        }
        if (!status.ok()) report->Problem(status.message());
        return true;
      }));
  return attributes;
}

// Where a configuration stands, and how final that is.
std::string PlaceText(const Json& json) {
  if (json["place"] == "applied") return "applied state";
  const std::string position = "index " + json["index"].dump() + " term " + json["term"].dump();
  if (json["place"] == "log_start") return "log start, " + position;
  return position + (json["committed"].get<bool>() ? ", committed" : ", not known to be committed");
}

void ShowConfiguration(Json json, const Membership& membership, Report* report) {
  json["joint"] = membership.IsJoint();
  json.update(MembershipJson(membership));
  report->Record(
      [&] {
        return "configuration (" + PlaceText(json) + (membership.IsJoint() ? ", joint" : "") +
               "): " + ConfigText(json);
      },
      [&] { return json; });
}

std::string Role(const Membership& membership, NodeId id) {
  const bool incoming = membership.voters.contains(id);
  const bool outgoing = membership.outgoing.contains(id);
  if (incoming) return membership.IsJoint() && !outgoing ? "incoming voter" : "voter";
  if (outgoing) return "outgoing voter";
  const auto info = membership.info.find(id);
  return info != membership.info.end() && info->second.promote ? "learner, to be promoted"
                                                               : "learner";
}

Json MemberJson(const Membership& membership, const Attributes& attributes, NodeId id,
                bool is_self) {
  Json json{{"type", "member"}, {"id", IdText(id.value())}, {"role", Role(membership, id)}};
  if (is_self) json["self"] = true;
  const auto info = membership.info.find(id);
  json["peer_urls"] = info != membership.info.end() ? Json(info->second.peer_urls) : Json::array();
  const auto published = attributes.find(id);
  json["name"] = published != attributes.end() ? Json(published->second.name()) : Json(nullptr);
  json["client_urls"] = Json::array();
  if (published != attributes.end()) {
    for (const std::string& url : published->second.clienturls())
      json["client_urls"].push_back(url);
  }
  return json;
}

std::string UrlsText(const Json& urls) {
  std::string text;
  for (const Json& url : urls) text += " " + EscapeText(url.get_ref<const std::string&>());
  return text.empty() ? " unknown" : text;
}

std::string MemberText(const Json& json) {
  return "member " + json["id"].get<std::string>() +
         (json["name"].is_null() ? "" : " " + EscapeText(json["name"].get<std::string>())) +
         (json.contains("self") ? " (this node)" : "") + ": " + json["role"].get<std::string>() +
         ", peers at" + UrlsText(json["peer_urls"]) + ", clients at" +
         UrlsText(json["client_urls"]);
}

class MembersCommand : public DirectoryCommand {
 public:
  explicit MembersCommand(CLI::App* app)
      : DirectoryCommand(
            app,
            {.name = "members",
             .description =
                 "Every configuration that is in the directory with its position in the log, and "
                 "who belongs to the newest, which is the one in force",
             .example = "raftkv-dump members data/n1"},
            Live::kAllowed) {}

 private:
  Status RunOn(const NodeDirectory& directory, Report* report) override;
};

Status MembersCommand::RunOn(const NodeDirectory& directory, Report* report) {
  store::Engine* const engine = directory.engine();
  const LogMeta meta = ReadLogMeta(engine);
  const Index commit = meta.hard_state.ok() ? meta.hard_state->commit : Index(0);
  Progress progress(report, "reading the log", "entries");
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<Configuration> configurations,
                          ReadConfigurations(
                              engine, meta, [&] { progress.Add(); },
                              [&](const std::string& damage) { report->Problem(damage); }));
  for (const Configuration& configuration : configurations) {
    Json json{{"type", "configuration"},
              {"place", configuration.in_log ? "log" : "log_start"},
              {"index", configuration.position.index.value()},
              {"term", configuration.position.term.value()},
              {"committed", !configuration.in_log || configuration.position.index <= commit}};
    ShowConfiguration(std::move(json), configuration.membership, report);
  }
  const StatusOr<store::ClusterState> applied = store::ReadClusterState(engine->db(), engine->kv());
  if (!applied.ok()) {
    report->Problem("the applied configuration: " + applied.status().message());
  } else if (applied->configuration) {
    ShowConfiguration({{"type", "configuration"}, {"place", "applied"}}, *applied->configuration,
                      report);
  }
  if (configurations.empty()) return Status::Ok();
  const Membership& newest = configurations.back().membership;
  RAFTKV_ASSIGN_OR_RETURN(const Attributes attributes, ReadAttributes(engine, report));
  for (const NodeId id : newest.All()) {
    const Json json = MemberJson(newest, attributes, id, id == engine->identity().node);
    report->Record([&] { return MemberText(json); }, [&] { return json; });
  }
  for (const NodeId id : newest.removed) {
    report->Record([&] { return "removed " + IdText(id.value()); },
                   [&] {
                     return Json{{"type", "removed"}, {"id", IdText(id.value())}};
                   });
  }
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Command> MakeMembersCommand(CLI::App* app) {
  return std::make_unique<MembersCommand>(app);
}

}  // namespace raftkv::tools::dump
