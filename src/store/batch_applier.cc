#include "store/batch_applier.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/membership_codec.h"
#include "common/mutation.h"
#include "store/kv_errors.h"
#include "store/mvcc.h"
#include "store/session_answer.h"
#include "store/session_limits.h"

namespace raftkv::store {
namespace {

std::string Name(const Entry& entry) {
  return "entry " + std::to_string(entry.index.value()) + " of term " +
         std::to_string(entry.term.value());
}

// Keeps the response only if the request succeeded.
void SetStatus(Status status, ApplyResult* result) {
  RAFTKV_CHECK(status.code() != Code::kCorruption && status.code() != Code::kIoError,
               "reading applied state: " + status.message());
  if (!status.ok()) result->response.emplace<std::monostate>();
  result->status = std::move(status);
}

}  // namespace

BatchApplier::BatchApplier(Engine* engine, SessionTable* sessions, ClusterState* cluster,
                           NewestVersions* newest, const AppliedRecord& before,
                           rocksdb::WriteBatch* batch)
    : sessions_(sessions),
      cluster_(cluster),
      applied_(before),
      writer_(engine->db(), engine->kv(), newest, before.revision, batch) {}

void BatchApplier::Apply(const Entry& entry, bool awaited, ApplyResult* result) {
  RAFTKV_CHECK(entry.index == applied_.position.index + 1,
               Name(entry) + " does not follow the applied index " +
                   std::to_string(applied_.position.index.value()));
  RAFTKV_CHECK(entry.term >= applied_.position.term, Name(entry) + " is of an older term");
  if (entry.kind == EntryKind::kCommand) {
    StatusOr<Command> command = DecodeCommand(entry.bytes());
    RAFTKV_CHECK(command.ok(), Name(entry) + ": " + command.status().ToString());
    ApplyCommand(*command, awaited, result);
  } else if (entry.kind == EntryKind::kConfig) {
    Configure(entry);
  }
  applied_.position = entry.position();
}

void BatchApplier::ApplyCommand(const Command& command, bool awaited, ApplyResult* result) {
  applied_.time_ms = std::max(applied_.time_ms, command.time_ms);
  if (!command.session.present()) {
    Execute(command, awaited, result);
    return;
  }
  SessionTable::Verdict verdict = sessions_->Admit(command.session, applied_.session_limits,
                                                   applied_.time_ms, &applied_.sessions);
  if (!verdict.refused.ok()) {
    result->status = std::move(verdict.refused);
  } else if (verdict.answer) {
    *result = FromSessionRecord(*verdict.answer);
  } else {
    // Wanted by the session, on every member.
    Execute(command, /*answer_wanted=*/true, result);
    SessionRecord record = ToSessionRecord(*result);
    if (!awaited && record.kind == AnswerKind::kTooLarge) result->response = {};
    sessions_->Store(command.session, applied_.time_ms, std::move(record), &applied_.sessions);
  }
}

template <typename Request>
const Request& BatchApplier::Parse(const Command& command) {
  auto* request = google::protobuf::Arena::CreateMessage<Request>(&arena_);
  RAFTKV_CHECK(request->ParseFromArray(command.body.data(), static_cast<int>(command.body.size())),
               "a " + std::string(CommandTypeName(command.type)) + " command can't be parsed");
  return *request;
}

template <typename Request, typename Response>
void BatchApplier::Write(const Command& command, bool answer_wanted,
                         Status (Transaction::*write)(const Request&, Response*),
                         ApplyResult* result) {
  Transaction transaction(&writer_, applied_.compact_revision, AnswerRoom::ForWrite(answer_wanted));
  auto* response = &result->response.emplace<Response>();
  SetStatus((transaction.*write)(Parse<Request>(command), response), result);
  if (transaction.room().given_up()) {
    result->given_up_at = response->header().revision();
    result->status = ErrAnswerTooLarge(result->given_up_at);
    result->response = {};
  } else {
    answer_bytes_ += transaction.room().used();
  }
}

void BatchApplier::Execute(const Command& command, bool answer_wanted, ApplyResult* result) {
  switch (command.type) {
    case CommandType::kPut:
      Write(command, answer_wanted, &Transaction::Put, result);
      break;
    case CommandType::kDeleteRange:
      Write(command, answer_wanted, &Transaction::DeleteRange, result);
      break;
    case CommandType::kTxn:
      Write(command, answer_wanted, &Transaction::Run, result);
      break;
    case CommandType::kCompact: {
      auto* response = &result->response.emplace<etcdserverpb::CompactionResponse>();
      const auto& request = Parse<etcdserverpb::CompactionRequest>(command);
      SetStatus(Compact(request.revision(), response), result);
      break;
    }
    case CommandType::kMemberAttributes:
      StoreMember(Parse<etcdserverpb::Member>(command));
      break;
    case CommandType::kAlarm: {
      ChangeAlarms(Parse<etcdserverpb::AlarmRequest>(command),
                   &result->response.emplace<etcdserverpb::AlarmResponse>());
      break;
    }
    case CommandType::kSessionLimits: {
      const StatusOr<SessionLimits> limits = DecodeSessionLimits(command.body);
      RAFTKV_CHECK(limits.ok(), limits.status().ToString());
      applied_.session_limits = *limits;
      break;
    }
  }
}

Status BatchApplier::Compact(int64_t revision, etcdserverpb::CompactionResponse* response) {
  const int64_t current = writer_.begin_revision();
  // Like etcd, the first compaction of all may ask for revision 0, which changes nothing.
  const bool nothing_to_do = revision == 0 && applied_.compact_revision == 0;
  if (revision <= applied_.compact_revision && !nothing_to_do) return ErrCompacted();
  if (revision > current) return ErrFutureRevision();
  applied_.compact_revision = revision;
  response->mutable_header()->set_revision(current);
  return Status::Ok();
}

void BatchApplier::StoreMember(const etcdserverpb::Member& member) {
  // It may have been published before the removal and be committed after it: nobody would delete
  // the record again.
  if (cluster_->WasRemoved(NodeId(member.id()))) return;
  const std::string key = MemberKey(NodeId(member.id()));
  Put(key, EncodeMemberRecord(key, member.SerializeAsString()));
}

void BatchApplier::Configure(const Entry& entry) {
  StatusOr<Membership> membership = DecodeMembership(entry.bytes());
  RAFTKV_CHECK(membership.ok(), Name(entry) + ": " + membership.status().ToString());
  Put(ConfigKey(), EncodeConfigRecord(*membership));
  for (const NodeId removed : membership->removed) {
    if (cluster_->WasRemoved(removed)) continue;
    Delete(MemberKey(removed));
    // A member that is gone can't lower its alarms itself.
    for (const Alarm& alarm : std::set<Alarm>(cluster_->alarms)) {
      if (alarm.member == removed) Lower(alarm);
    }
  }
  cluster_->configuration = std::move(membership).value();
  cluster_changed_ = true;
}

// As etcd does it: the response lists what was asked for, what is raised (even if it was before),
// or what was lowered. Beyond etcd, whose clients do it themselves, lowering the alarms of member 0
// lowers those of every member, and then of every type where none is given.
void BatchApplier::ChangeAlarms(const etcdserverpb::AlarmRequest& request,
                                etcdserverpb::AlarmResponse* response) {
  response->mutable_header()->set_revision(writer_.begin_revision());
  const auto answer = [response](const Alarm& alarm) {
    etcdserverpb::AlarmMember* member = response->add_alarms();
    member->set_memberid(alarm.member.value());
    member->set_alarm(static_cast<etcdserverpb::AlarmType>(alarm.type));
  };
  const bool any_type = request.alarm() == etcdserverpb::NONE;
  const int type = request.alarm();
  if (request.action() == etcdserverpb::AlarmRequest::GET) {
    for (const Alarm& alarm : cluster_->alarms) {
      if (any_type || alarm.type == type) answer(alarm);
    }
  } else if (request.action() == etcdserverpb::AlarmRequest::ACTIVATE) {
    if (type < 1 || type > UINT8_MAX || cluster_->WasRemoved(NodeId(request.memberid()))) return;
    const Alarm alarm{NodeId(request.memberid()), static_cast<uint8_t>(type)};
    if (cluster_->alarms.insert(alarm).second) {
      const std::string key = AlarmKey(alarm.member, alarm.type);
      Put(key, EncodeAlarmRecord(key));
      cluster_changed_ = true;
    }
    answer(alarm);
  } else if (request.action() == etcdserverpb::AlarmRequest::DEACTIVATE) {
    const bool any_member = request.memberid() == 0;
    for (const Alarm& alarm : std::set<Alarm>(cluster_->alarms)) {
      if (!any_member && alarm.member != NodeId(request.memberid())) continue;
      if (alarm.type != type && !(any_member && any_type)) continue;
      Lower(alarm);
      answer(alarm);
    }
  }
}

void BatchApplier::Lower(const Alarm& alarm) {
  cluster_->alarms.erase(alarm);
  cluster_changed_ = true;
  Delete(AlarmKey(alarm.member, alarm.type));
}

void BatchApplier::Put(const std::string& key, const std::string& record) {
  const rocksdb::Status status = writer_.batch()->Put(writer_.kv(), key, record);
  RAFTKV_CHECK(status.ok(), status.ToString());
}

void BatchApplier::Delete(const std::string& key) {
  const rocksdb::Status status = writer_.batch()->Delete(writer_.kv(), key);
  RAFTKV_CHECK(status.ok(), status.ToString());
}

void BatchApplier::Finish() {
  applied_.revision = writer_.begin_revision();
  writer_.Finish();
  sessions_->Flush(writer_.batch());
  if (!Mutated(Mutation::kAppliedApart)) Put(AppliedKey(), EncodeAppliedRecord(applied_));
}

}  // namespace raftkv::store
