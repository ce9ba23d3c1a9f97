#include "tools/dump/verify_kv.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <rocksdb/iterator.h>

#include "rpc.pb.h"
#include "store/kv_kinds.h"
#include "store/mvcc.h"
#include "tools/dump/set_comparison.h"
#include "tools/dump/state_reader.h"
#include "tools/dump/version_check.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

constexpr char kCheck[] = "kv";
constexpr char kSessions[] = "sessions";
constexpr char kCluster[] = "cluster";
constexpr size_t kSuspectBucketsMax = 64;
constexpr uint64_t kSecondMs = 1000;

// In the order of their records.
constexpr char kKinds[] = {store::kAppliedKind, store::kConfigKind,     store::kDataKind,
                           store::kMemberKind,  store::kRevisionKind,   store::kSessionKind,
                           store::kAlarmKind,   store::kSessionTimeKind};

std::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// Each session has one entry in the index by time, under the second it was last used in.
class SessionCheck {
 public:
  SessionCheck(const store::AppliedRecord& applied, std::string family, Findings* findings)
      : applied_(applied), family_(std::move(family)), findings_(findings) {}

  void AddSession(std::string_view key, std::string_view bytes) {
    std::string_view client;
    Status status = store::DecodeSessionKey(key, &client);
    StatusOr<store::SessionRecord> record =
        status.ok() ? store::DecodeSessionRecord(key, bytes) : status;
    if (!second_pass_) ++sessions_;
    if (!record.ok()) {
      damaged_ = true;
      if (!second_pass_) {
        Problem(key, record.status().message(), "a retried write of this client aborts the node");
      }
      return;
    }
    const std::string time_key = store::SessionTimeKey(record->last_used_ms, client);
    if (second_pass_) {
      if (comparison_.IsSuspect(time_key)) suspects_[time_key].first = true;
      return;
    }
    comparison_.AddLeft(time_key, "");
    if (record->sequence == 0 || record->last_used_ms > applied_.time_ms) {
      Problem(client,
              "its sequence is " + std::to_string(record->sequence) + " and it was last used at " +
                  std::to_string(record->last_used_ms) + " ms, while the state's clock stands at " +
                  std::to_string(applied_.time_ms),
              "no command writes that: a retried write may be applied twice");
    }
  }

  void AddTime(std::string_view key, std::string_view bytes) {
    uint64_t second_ms = 0;
    std::string_view client;
    Status status = store::DecodeSessionTimeKey(key, &second_ms, &client);
    if (status.ok()) status = store::DecodeSessionTimeRecord(key, bytes);
    if (!status.ok()) {
      if (!second_pass_) {
        Problem(key, status.message(), "the next session that expires aborts the node");
      }
    }
    if (second_pass_) {
      if (comparison_.IsSuspect(key)) suspects_[std::string(key)].second = true;
    } else {
      comparison_.AddRight(key, "");
    }
  }

  void EndPass() {
    if (sessions_ != applied_.sessions) {
      Problem({},
              "there are " + std::to_string(sessions_) +
                  " sessions, but the applied record counts " + std::to_string(applied_.sessions),
              "sessions are lost or left over: a retried write may be refused, or applied twice");
    }
    second_pass_ = !comparison_.Equal();
    comparison_.Narrow(kSuspectBucketsMax);
  }

  bool NeedsSecondPass() const { return second_pass_; }

  void EndSecondPass() {
    for (const auto& [time_key, sides] : suspects_) {
      const auto [session, time] = sides;
      if (session == time) continue;
      uint64_t second_ms = 0;
      std::string_view client;
      if (!store::DecodeSessionTimeKey(time_key, &second_ms, &client).ok()) continue;
      if (session) {
        Problem(client,
                "the session is not in the index by time, under second " +
                    std::to_string(second_ms / kSecondMs),
                "it never expires");
      } else if (!damaged_) {
        Problem(client,
                "the index by time names a session that is not there or was last used in another "
                "second than " +
                    std::to_string(second_ms / kSecondMs),
                "a session is lost: a retried write may be refused");
      }
    }
  }

  uint64_t sessions() const { return sessions_; }

 private:
  void Problem(std::string_view client, std::string what, std::string means) {
    findings_->Problem({kSessions,
                        {.family = family_, .key = std::string(client)},
                        std::move(what),
                        std::move(means),
                        kReplaceAdvice});
  }

  const store::AppliedRecord applied_;
  const std::string family_;
  Findings* const findings_;
  bool second_pass_ = false;
  bool damaged_ = false;
  uint64_t sessions_ = 0;
  SetComparison comparison_;
  std::map<std::string, std::pair<bool, bool>> suspects_;  // by time key: has session, has time
};

// Walks the family and hands each record to whom it concerns.
class KvVerifier {
 public:
  KvVerifier(store::Engine* engine, const store::AppliedRecord& applied, Findings* findings)
      : engine_(engine),
        kv_(engine->kv()),
        findings_(findings),
        versions_(applied, kv_->GetName(), findings),
        sessions_(applied, kv_->GetName(), findings) {}

  void Run() {
    ReadAll();
    versions_.EndPass();
    sessions_.EndPass();
    if (versions_.NeedsSecondPass()) {
      ReadKind(store::kDataKind, [&](auto key, auto record) { versions_.AddData(key, record); });
      ReadKind(store::kRevisionKind,
               [&](auto key, auto record) { versions_.AddRevision(key, record); });
      versions_.EndSecondPass();
    }
    if (sessions_.NeedsSecondPass()) {
      ReadKind(store::kSessionKind,
               [&](auto key, auto record) { sessions_.AddSession(key, record); });
      ReadKind(store::kSessionTimeKind,
               [&](auto key, auto record) { sessions_.AddTime(key, record); });
      sessions_.EndSecondPass();
    }
    CheckMembers();
    findings_->Done("kv", std::to_string(records_) + " records");
    findings_->Done("versions", std::to_string(versions_.versions()) + " versions of keys, " +
                                    std::to_string(versions_.live_keys()) + " keys alive");
    findings_->Done("revisions", "the index of revisions, against the versions both ways");
    findings_->Done(kSessions, std::to_string(sessions_.sessions()) + " sessions");
    findings_->Done(kCluster, std::to_string(members_.size()) + " members' attributes, " +
                                  std::to_string(alarms_.size()) + " alarms");
  }

 private:
  using Visit = std::function<void(std::string_view key, std::string_view record)>;

  // Every record. A block that can't be read hides the rest of its kind, not the other kinds.
  void ReadAll() {
    std::string from;
    while (!Read(from, '\xff', [this](auto key, auto record) { Take(key, record); })) {
      const std::string& reached = last_.empty() ? from : last_;
      const auto next = std::find_if(std::begin(kKinds), std::end(kKinds), [&](char kind) {
        return std::string_view(&kind, 1) > std::string_view(reached).substr(0, 1);
      });
      if (next == std::end(kKinds)) return;
      from.assign(1, *next);
    }
  }

  void Take(std::string_view key, std::string_view record) {
    ++records_;
    switch (key.empty() ? '\0' : key[0]) {
      case store::kAppliedKind:
        if (key != store::AppliedKey()) Unknown(key);
        break;  // was read before
      case store::kConfigKind:
        Config(key, record);
        break;
      case store::kDataKind:
        versions_.AddData(key, record);
        break;
      case store::kMemberKind:
        Member(key, record);
        break;
      case store::kRevisionKind:
        versions_.AddRevision(key, record);
        break;
      case store::kSessionKind:
        sessions_.AddSession(key, record);
        break;
      case store::kAlarmKind:
        Alarm(key, record);
        break;
      case store::kSessionTimeKind:
        sessions_.AddTime(key, record);
        break;
      default:
        Unknown(key);
    }
  }

  void ReadKind(char kind, const Visit& visit) {
    (void)Read(std::string(1, kind), kind, visit);  // that it can't be read was said before
  }

  // Visits the records from `from` on up to those of kind `last_kind`; false, and a finding, when
  // something can't be read.
  bool Read(const std::string& from, char last_kind, const Visit& visit) {
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    options.fill_cache = false;
    options.verify_checksums = true;
    options.readahead_size = 2 << 20;
    const std::unique_ptr<rocksdb::Iterator> it(engine_->db()->NewIterator(options, kv_.get()));
    last_.clear();
    for (it->Seek(from); it->Valid(); it->Next()) {
      const std::string_view key = View(it->key());
      if (!key.empty() && static_cast<uint8_t>(key[0]) > static_cast<uint8_t>(last_kind)) break;
      last_.assign(key.substr(0, 1));
      visit(key, View(it->value()));
    }
    if (it->status().ok()) return true;
    versions_.Incomplete();
    const std::string kind = last_.empty() ? from : last_;
    findings_->Problem(
        {kCheck,
         {.family = kv_->GetName()},
         "the records of kind '" + kind + "' can't all be read: " + it->status().ToString(),
         "those behind the damage, up to the next kind, were not checked",
         kReplaceAdvice});
    return false;
  }

  void Config(std::string_view key, std::string_view record) {
    if (key != store::ConfigKey()) return Unknown(key);
    const StatusOr<Membership> config = store::DecodeConfigRecord(record);
    if (config.ok()) {
      removed_ = config->removed;
    } else {
      Problem(kCluster, key, config.status().message(), "a node refuses to start on it");
    }
  }

  void Member(std::string_view key, std::string_view record) {
    NodeId id;
    const Status status = store::DecodeMemberKey(key, &id);
    const StatusOr<std::string_view> bytes =
        status.ok() ? store::DecodeMemberRecord(key, record) : status;
    etcdserverpb::Member member;
    if (!bytes.ok()) {
      Problem(kCluster, key, bytes.status().message(), "a node refuses to start on it");
    } else if (!member.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) {
      Problem(kCluster, key, "the record holds no member", "a node refuses to start on it");
    } else if (NodeId(member.id()) != id) {
      Problem(kCluster, key, "the record is of member " + IdText(member.id()),
              "the member's attributes are not those that it published");
    }
    members_.insert(id);
  }

  void Alarm(std::string_view key, std::string_view record) {
    NodeId id;
    uint8_t type = 0;
    Status status = store::DecodeAlarmKey(key, &id, &type);
    if (status.ok()) status = store::DecodeAlarmRecord(key, record);
    if (!status.ok()) Problem(kCluster, key, status.message(), "a node refuses to start on it");
    alarms_.insert(id);
  }

  void Unknown(std::string_view key) {
    Problem(kCheck, key, "no record of this version of raftkv has such a key",
            "it was written by another program or a newer version, or it is damaged");
  }

  // A removed member leaves nothing behind.
  void CheckMembers() {
    for (const NodeId id : removed_) {
      if (!members_.contains(id) && !alarms_.contains(id)) continue;
      Problem(kCluster, store::MemberKey(id),
              "member " + IdText(id.value()) + " was removed, but its " +
                  (members_.contains(id) ? "attributes are" : "alarm is") + " still there",
              "no command leaves that: replicas of this state differ");
    }
  }

  void Problem(const std::string& check, std::string_view key, std::string what,
               std::string means) {
    findings_->Problem({check,
                        {.family = kv_->GetName(), .key = std::string(key)},
                        std::move(what),
                        std::move(means),
                        kReplaceAdvice});
  }

  store::Engine* const engine_;
  const store::FamilyHandle kv_;
  Findings* const findings_;
  VersionCheck versions_;
  SessionCheck sessions_;
  std::set<NodeId> removed_;
  std::set<NodeId> members_;
  std::set<NodeId> alarms_;
  uint64_t records_ = 0;
  std::string last_;  // the kind of the record last read
};

}  // namespace

void VerifyKv(store::Engine* engine, Findings* findings) {
  StatusOr<store::AppliedRecord> applied = ReadApplied(engine);
  if (!applied.ok() && applied.status().code() != Code::kNotFound) {
    findings->Problem({kCheck,
                       {.family = engine->kv()->GetName(), .key = store::AppliedKey()},
                       applied.status().message(),
                       "what the applied state stands for is not known, so that it could not be "
                       "checked",
                       kReplaceAdvice});
    return;
  }
  // Before the first flush there is no record, and there must be nothing else: an initial record
  // says just that.
  KvVerifier(engine, applied.ok() ? *applied : store::AppliedRecord(), findings).Run();
}

}  // namespace raftkv::tools::dump
