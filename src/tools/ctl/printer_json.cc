#include <nlohmann/json.hpp>

#include "tools/ctl/printer.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

using Json = nlohmann::ordered_json;

// Go leaves fields at their zero value out: so do these.
template <typename T>
void Set(Json* json, const char* name, T value) {
  if (value != T{}) (*json)[name] = value;
}

void SetBytes(Json* json, const char* name, const std::string& bytes) {
  if (!bytes.empty()) (*json)[name] = Base64(bytes);
}

Json Header(const etcdserverpb::ResponseHeader& header) {
  Json json = Json::object();
  Set(&json, "cluster_id", header.cluster_id());
  Set(&json, "member_id", header.member_id());
  Set(&json, "revision", header.revision());
  Set(&json, "raft_term", header.raft_term());
  return json;
}

template <typename Response>
Json WithHeader(const Response& response) {
  Json json = Json::object();
  if (response.has_header()) json["header"] = Header(response.header());
  return json;
}

Json KeyValue(const mvccpb::KeyValue& kv) {
  Json json = Json::object();
  SetBytes(&json, "key", kv.key());
  Set(&json, "create_revision", kv.create_revision());
  Set(&json, "mod_revision", kv.mod_revision());
  Set(&json, "version", kv.version());
  SetBytes(&json, "value", kv.value());
  Set(&json, "lease", kv.lease());
  return json;
}

template <typename Repeated>
void SetKeyValues(Json* json, const char* name, const Repeated& kvs) {
  for (const auto& kv : kvs) (*json)[name].push_back(KeyValue(kv));
}

template <typename Repeated>
void SetStrings(Json* json, const char* name, const Repeated& strings) {
  for (const auto& string : strings) (*json)[name].push_back(string);
}

Json ToJson(const etcdserverpb::PutResponse& response) {
  Json json = WithHeader(response);
  if (response.has_prev_kv()) json["prev_kv"] = KeyValue(response.prev_kv());
  return json;
}

Json ToJson(const etcdserverpb::RangeResponse& response) {
  Json json = WithHeader(response);
  SetKeyValues(&json, "kvs", response.kvs());
  Set(&json, "more", response.more());
  Set(&json, "count", response.count());
  return json;
}

Json ToJson(const etcdserverpb::DeleteRangeResponse& response) {
  Json json = WithHeader(response);
  Set(&json, "deleted", response.deleted());
  SetKeyValues(&json, "prev_kvs", response.prev_kvs());
  return json;
}

Json ToJson(const etcdserverpb::TxnResponse& response) {
  Json json = WithHeader(response);
  Set(&json, "succeeded", response.succeeded());
  for (const auto& op : response.responses()) {
    Json inner = Json::object();
    if (op.has_response_range()) inner["response_range"] = ToJson(op.response_range());
    if (op.has_response_put()) inner["response_put"] = ToJson(op.response_put());
    if (op.has_response_delete_range()) {
      inner["response_delete_range"] = ToJson(op.response_delete_range());
    }
    if (op.has_response_txn()) inner["response_txn"] = ToJson(op.response_txn());
    Json outer = Json::object();
    outer["Response"] = std::move(inner);
    json["responses"].push_back(std::move(outer));
  }
  return json;
}

Json ToJson(const etcdserverpb::Member& member) {
  Json json = Json::object();
  Set(&json, "ID", member.id());
  Set(&json, "name", member.name());
  SetStrings(&json, "peerURLs", member.peerurls());
  SetStrings(&json, "clientURLs", member.clienturls());
  Set(&json, "isLearner", member.islearner());
  return json;
}

// Any answer that ends in the member list.
template <typename Response>
Json WithMembers(const Response& response, Json json) {
  for (const auto& member : response.members()) json["members"].push_back(ToJson(member));
  return json;
}

template <typename Response>
Json WithMembers(const Response& response) {
  return WithMembers(response, WithHeader(response));
}

Json ToJson(const etcdserverpb::HashKVResponse& response) {
  Json json = WithHeader(response);
  Set(&json, "hash", response.hash());
  Set(&json, "compact_revision", response.compact_revision());
  return json;
}

Json ToJson(const SnapshotSummary& snapshot) {
  uint32_t hash = 0;
  for (const char c : snapshot.digest.substr(0, 4)) hash = hash << 8 | static_cast<uint8_t>(c);
  return {{"hash", hash},
          {"revision", snapshot.revision},
          {"totalKey", snapshot.keys},
          {"totalSize", snapshot.bytes},
          {"records", snapshot.records},
          {"clusterId", snapshot.cluster_id},
          {"sha256", Hex(snapshot.digest)}};
}

Json ToJson(const etcdserverpb::StatusResponse& response) {
  Json json = WithHeader(response);
  Set(&json, "version", response.version());
  Set(&json, "dbSize", response.dbsize());
  Set(&json, "leader", response.leader());
  Set(&json, "raftIndex", response.raftindex());
  Set(&json, "raftTerm", response.raftterm());
  Set(&json, "raftAppliedIndex", response.raftappliedindex());
  SetStrings(&json, "errors", response.errors());
  Set(&json, "dbSizeInUse", response.dbsizeinuse());
  Set(&json, "isLearner", response.islearner());
  return json;
}

// Names and addresses are whatever a server sent: bytes that are not UTF-8 are replaced, since the
// encoder would otherwise throw.
std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

class JsonPrinter : public Printer {
 public:
  std::string Put(const etcdserverpb::PutResponse& response) override {
    return Line(ToJson(response));
  }
  std::string Get(const etcdserverpb::RangeResponse& response,
                  const etcdserverpb::RangeRequest&) override {
    return Line(ToJson(response));
  }
  std::string Del(const etcdserverpb::DeleteRangeResponse& response) override {
    return Line(ToJson(response));
  }
  std::string Txn(const etcdserverpb::TxnResponse& response) override {
    return Line(ToJson(response));
  }
  std::string Compact(const etcdserverpb::CompactionResponse& response, int64_t) override {
    return Line(WithHeader(response));
  }
  std::string MemberList(const etcdserverpb::MemberListResponse& response) override {
    return Line(WithMembers(response));
  }

  std::string Status(const std::vector<EndpointStatus>& endpoints) override {
    Json json = Json::array();
    for (const auto& endpoint : endpoints) {
      Json item = Json::object();
      item["Endpoint"] = endpoint.endpoint;
      item["Status"] = ToJson(endpoint.response);
      json.push_back(std::move(item));
    }
    return Line(json);
  }

  std::string Health(const std::vector<EndpointHealth>& endpoints) override {
    Json json = Json::array();
    for (const auto& endpoint : endpoints) {
      Json item = Json::object();
      item["endpoint"] = endpoint.endpoint;
      item["health"] = endpoint.healthy;
      item["took"] = DurationText(endpoint.took_us);
      Set(&item, "error", endpoint.error);
      json.push_back(std::move(item));
    }
    return Line(json);
  }

  std::string MoveLeader(const etcdserverpb::MoveLeaderResponse& response, uint64_t,
                         uint64_t) override {
    return Line(WithHeader(response));
  }

  std::string MemberAdd(const etcdserverpb::MemberAddResponse& response,
                        const std::vector<std::string>& flags) override {
    Json json = WithHeader(response);
    json["member"] = ToJson(response.member());
    json = WithMembers(response, std::move(json));
    SetStrings(&json, "raftkvd_flags", flags);
    return Line(json);
  }
  std::string MemberRemove(const etcdserverpb::MemberRemoveResponse& response, uint64_t) override {
    return Line(WithMembers(response));
  }
  std::string MemberPromote(const etcdserverpb::MemberPromoteResponse& response,
                            uint64_t) override {
    return Line(WithMembers(response));
  }
  std::string MemberUpdate(const etcdserverpb::MemberUpdateResponse& response, uint64_t) override {
    return Line(WithMembers(response));
  }

  std::string Alarms(const etcdserverpb::AlarmResponse& response) override {
    Json json = WithHeader(response);
    for (const auto& alarm : response.alarms()) {
      Json item = Json::object();
      Set(&item, "memberID", alarm.memberid());
      Set(&item, "alarm", static_cast<int>(alarm.alarm()));
      json["alarms"].push_back(std::move(item));
    }
    return Line(json);
  }

  std::string Defragment(const etcdserverpb::DefragmentResponse& response,
                         const std::string& endpoint) override {
    Json json = WithHeader(response);
    json["Endpoint"] = endpoint;
    return Line(json);
  }

  std::string HashKv(const std::vector<EndpointHash>& endpoints) override {
    Json json = Json::array();
    for (const auto& endpoint : endpoints) {
      Json item = Json::object();
      item["Endpoint"] = endpoint.endpoint;
      item["HashKV"] = ToJson(endpoint.response);
      item["HashKV"]["hash_revision"] = endpoint.revision;
      json.push_back(std::move(item));
    }
    return Line(json);
  }

  std::string SnapshotSaved(const SnapshotSummary& snapshot, const std::string&) override {
    return Line(ToJson(snapshot));
  }
  std::string SnapshotStatus(const SnapshotSummary& snapshot) override {
    return Line(ToJson(snapshot));
  }
};

}  // namespace

std::unique_ptr<Printer> NewJsonPrinter() { return std::make_unique<JsonPrinter>(); }

}  // namespace raftkv::tools::ctl
