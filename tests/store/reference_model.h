// What the store should do, written as plainly as possible: all versions of all keys in a map,
// every request a loop over them. The randomized test compares the store with it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "rpc.pb.h"
#include "store/apply_result.h"
#include "store/command.h"
#include "store/session_limits.h"

namespace raftkv::store {

class ReferenceModel {
 public:
  void SetSessionLimits(const SessionLimits& limits) { limits_ = limits; }
  ApplyResult Apply(CommandType type, const google::protobuf::Message& request,
                    const SessionRef& session, uint64_t time_ms);
  StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request) const {
    return state_.Range(request);
  }

  int64_t revision() const { return state_.revision; }
  int64_t compact_revision() const { return state_.compact_revision; }
  size_t sessions() const { return sessions_.size(); }
  uint64_t time_ms() const { return time_ms_; }
  // How many versions are left when compaction is through.
  size_t VersionsLeft() const;

 private:
  struct Version {
    int64_t mod = 0;
    int64_t create = 0;
    int64_t version = 0;  // 0: deleted
    std::string value;
  };
  struct Session {
    uint64_t sequence = 0;
    uint64_t last_used_ms = 0;
    ApplyResult answer;
  };
  using Flat = std::vector<const etcdserverpb::RequestOp*>;

  struct State {
    std::map<std::string, std::vector<Version>> keys;
    int64_t revision = 1;
    int64_t compact_revision = 0;

    const Version* Find(const std::string& key, int64_t at) const;
    std::vector<std::string> Keys(const std::string& key, const std::string& end, int64_t at) const;
    void Put(const std::string& key, const std::string& value, int64_t at);
    StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request) const;
    bool Holds(const etcdserverpb::TxnRequest& request) const;
  };

  static mvccpb::KeyValue ToKv(const std::string& key, const Version& version);
  ApplyResult Execute(CommandType type, const google::protobuf::Message& request);
  // Executes on `state` at revision `at`, which the change makes; `before` is the state before.
  static void Put(const State& before, const etcdserverpb::PutRequest& request, State* state,
                  int64_t at, etcdserverpb::PutResponse* response);
  static void Delete(const etcdserverpb::DeleteRangeRequest& request, State* state, int64_t at,
                     etcdserverpb::DeleteRangeResponse* response);
  static void Txn(const State& before, const etcdserverpb::TxnRequest& request, State* state,
                  int64_t at, etcdserverpb::TxnResponse* response);
  void Flatten(const etcdserverpb::TxnRequest& request, Flat* flat) const;
  void ExpireSessions();

  SessionLimits limits_;
  State state_;
  std::map<std::string, Session> sessions_;
  uint64_t time_ms_ = 0;
};

}  // namespace raftkv::store
