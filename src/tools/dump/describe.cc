#include "tools/dump/describe.h"
#include "tools/dump/facts.h"

#include <set>

#include "common/membership_codec.h"
#include "rpc.pb.h"
#include "store/command.h"
#include "store/session_limits.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

Json Bytes(const std::string& bytes) { return Base64(bytes); }

template <typename Request>
StatusOr<Request> Parse(std::string_view body) {
  Request request;
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return Status(Code::kCorruption, "the request in the command does not parse");
  }
  return request;
}

Json Describe(const etcdserverpb::PutRequest& put, const DescribeOptions& options) {
  Json json{{"op", "put"}, {"key", Bytes(put.key())}, {"value_bytes", put.value().size()}};
  if (options.values) json["value"] = Bytes(put.value());
  if (put.lease() != 0) json["lease"] = put.lease();
  if (put.ignore_value()) json["ignore_value"] = true;
  if (put.ignore_lease()) json["ignore_lease"] = true;
  return json;
}

Json Describe(const etcdserverpb::DeleteRangeRequest& del, const DescribeOptions&) {
  Json json{{"op", "delete"}, {"key", Bytes(del.key())}};
  if (!del.range_end().empty()) json["range_end"] = Bytes(del.range_end());
  return json;
}

Json Describe(const etcdserverpb::RangeRequest& range, const DescribeOptions&) {
  Json json{{"op", "range"}, {"key", Bytes(range.key())}};
  if (!range.range_end().empty()) json["range_end"] = Bytes(range.range_end());
  return json;
}

Json Describe(const etcdserverpb::TxnRequest& txn, const DescribeOptions& options);

template <typename Ops>
Json DescribeOps(const Ops& ops, const DescribeOptions& options) {
  Json json = Json::array();
  for (const auto& op : ops) {
    if (op.has_request_put()) json.push_back(Describe(op.request_put(), options));
    if (op.has_request_range()) json.push_back(Describe(op.request_range(), options));
    if (op.has_request_delete_range()) json.push_back(Describe(op.request_delete_range(), options));
    if (op.has_request_txn()) json.push_back(Describe(op.request_txn(), options));
  }
  return json;
}

Json Describe(const etcdserverpb::TxnRequest& txn, const DescribeOptions& options) {
  return {{"op", "txn"},
          {"compares", txn.compare_size()},
          {"success", DescribeOps(txn.success(), options)},
          {"failure", DescribeOps(txn.failure(), options)}};
}

Json Describe(const etcdserverpb::CompactionRequest& compaction, const DescribeOptions&) {
  return {{"op", "compact"}, {"revision", compaction.revision()}};
}

Json Describe(const etcdserverpb::Member& member, const DescribeOptions&) {
  Json json{{"op", "member-attributes"}, {"member", IdText(member.id())}, {"name", member.name()}};
  json["client_urls"] = Json::array();
  for (const std::string& url : member.clienturls()) json["client_urls"].push_back(url);
  return json;
}

Json Describe(const etcdserverpb::AlarmRequest& alarm, const DescribeOptions&) {
  return {{"op", "alarm"},
          {"action", etcdserverpb::AlarmRequest::AlarmAction_Name(alarm.action())},
          {"alarm", etcdserverpb::AlarmType_Name(alarm.alarm())},
          {"member", IdText(alarm.memberid())}};
}

Json IdsJson(const std::set<NodeId>& ids) {
  Json json = Json::array();
  for (const NodeId id : ids) json.push_back(IdText(id.value()));
  return json;
}

template <typename Request>
StatusOr<Json> ParseAndDescribe(std::string_view body, const DescribeOptions& options) {
  RAFTKV_ASSIGN_OR_RETURN(const Request request, Parse<Request>(body));
  return Describe(request, options);
}

StatusOr<Json> DescribeBody(const store::Command& command, const DescribeOptions& options) {
  switch (command.type) {
    case store::CommandType::kPut:
      return ParseAndDescribe<etcdserverpb::PutRequest>(command.body, options);
    case store::CommandType::kDeleteRange:
      return ParseAndDescribe<etcdserverpb::DeleteRangeRequest>(command.body, options);
    case store::CommandType::kTxn:
      return ParseAndDescribe<etcdserverpb::TxnRequest>(command.body, options);
    case store::CommandType::kCompact:
      return ParseAndDescribe<etcdserverpb::CompactionRequest>(command.body, options);
    case store::CommandType::kAlarm:
      return ParseAndDescribe<etcdserverpb::AlarmRequest>(command.body, options);
    case store::CommandType::kMemberAttributes:
      return ParseAndDescribe<etcdserverpb::Member>(command.body, options);
    case store::CommandType::kSessionLimits: {
      RAFTKV_ASSIGN_OR_RETURN(const store::SessionLimits limits,
                              store::DecodeSessionLimits(command.body));
      return Json{{"op", "session-limits"},
                  {"sessions_max", limits.sessions_max},
                  {"session_ttl_ms", limits.ttl_ms}};
    }
  }
  return Status(Code::kCorruption, "a command of an unknown type");
}

// The bytes behind base64 that this file wrote.
std::string Decoded(const Json& json) {
  return FromBase64(json.get_ref<const std::string&>()).value_or("");
}

std::string OpText(const Json& op);

std::string OpsText(const Json& ops) {
  std::string out;
  for (const Json& op : ops) out += (out.empty() ? "" : "; ") + OpText(op);
  return "[" + out + "]";
}

std::string OpText(const Json& op) {
  const auto& name = op["op"].get_ref<const std::string&>();
  std::string out = name;
  if (name == "txn") {
    return out + " if " + op["compares"].dump() + " compares hold " + OpsText(op["success"]) +
           " else " + OpsText(op["failure"]);
  }
  if (name == "compact") return out + " to revision " + op["revision"].dump();
  if (name == "alarm") {
    return out + " " + op["alarm"].get<std::string>() + " of member " +
           op["member"].get<std::string>() + ": " + op["action"].get<std::string>();
  }
  if (name == "session-limits") {
    return out + ": " + op["sessions_max"].dump() + " sessions, " + op["session_ttl_ms"].dump() +
           " ms each";
  }
  if (name == "member-attributes") {
    out += " of " + op["member"].get<std::string>() + ": name " +
           EscapeText(op["name"].get_ref<const std::string&>()) + ", clients";
    for (const Json& url : op["client_urls"]) {
      out += " " + EscapeText(url.get_ref<const std::string&>());
    }
    return out;
  }
  out += " \"" + EscapeText(Decoded(op["key"])) + "\"";
  if (op.contains("range_end")) out += " to \"" + EscapeText(Decoded(op["range_end"])) + "\"";
  if (op.contains("value")) {
    out += " = \"" + EscapeText(Decoded(op["value"])) + "\"";
  } else if (op.contains("value_bytes")) {
    out += " (" + op["value_bytes"].dump() + " bytes)";
  }
  if (op.contains("lease")) out += " lease " + op["lease"].dump();
  if (op.contains("ignore_value")) out += " keeping the value";
  if (op.contains("ignore_lease")) out += " keeping the lease";
  return out;
}

}  // namespace

std::string_view EntryKindName(EntryKind kind) {
  switch (kind) {
    case EntryKind::kNoop:
      return "noop";
    case EntryKind::kCommand:
      return "command";
    case EntryKind::kConfig:
      return "config";
  }
  return "unknown";
}

StatusOr<Json> DescribeCommand(std::string_view payload, const DescribeOptions& options) {
  RAFTKV_ASSIGN_OR_RETURN(const store::Command command, store::DecodeCommand(payload));
  RAFTKV_ASSIGN_OR_RETURN(Json json, DescribeBody(command, options));
  json["request_id"] = IdText(command.request_id);
  json["time_ms"] = command.time_ms;
  if (command.session.present()) {
    json["session"] = EscapeText(command.session.client);
    json["sequence"] = command.session.sequence;
  }
  return json;
}

bool Touches(const Json& command, std::string_view key) {
  for (const char* branch : {"success", "failure"}) {
    if (!command.contains(branch)) continue;
    for (const Json& op : command[branch]) {
      if (Touches(op, key)) return true;
    }
  }
  if (!command.contains("key")) return false;
  const std::string first = Decoded(command["key"]);
  if (!command.contains("range_end")) return key == first;
  // As in etcd: one zero byte means all keys from the first on.
  const std::string end = Decoded(command["range_end"]);
  return key >= first && (end == std::string(1, '\0') || key < end);
}

Json MembershipJson(const Membership& membership) {
  Json members = Json::array();
  for (const auto& [id, info] : membership.info) {
    Json member{{"id", IdText(id.value())}, {"peer_urls", info.peer_urls}};
    if (info.promote) member["promote"] = true;
    members.push_back(std::move(member));
  }
  return {{"voters", IdsJson(membership.voters)},
          {"outgoing", IdsJson(membership.outgoing)},
          {"learners", IdsJson(membership.learners)},
          {"members", std::move(members)},
          {"removed", IdsJson(membership.removed)}};
}

StatusOr<Json> DescribeConfig(std::string_view payload) {
  RAFTKV_ASSIGN_OR_RETURN(const Membership membership, DecodeMembership(payload));
  return MembershipJson(membership);
}

std::string ConfigText(const Json& config) {
  std::string out;
  for (const char* set : {"voters", "outgoing", "learners", "removed"}) {
    if (config[set].empty()) continue;
    out += (out.empty() ? "" : ", ") + std::string(set);
    for (const Json& id : config[set]) out += " " + id.get<std::string>();
  }
  for (const Json& member : config["members"]) {
    out += "; " + member["id"].get<std::string>() + " at";
    for (const Json& url : member["peer_urls"]) {
      out += " " + EscapeText(url.get_ref<const std::string&>());
    }
    if (member.contains("promote")) out += " (to be promoted)";
  }
  return out;
}

std::string CommandText(const Json& command) {
  std::string out = OpText(command);
  out += ", request " + command["request_id"].get<std::string>();
  out += ", time " + TimeText(command["time_ms"].get<uint64_t>());
  if (command.contains("session")) {
    out += ", session " + command["session"].get<std::string>() + " sequence " +
           command["sequence"].dump();
  }
  return out;
}

}  // namespace raftkv::tools::dump
