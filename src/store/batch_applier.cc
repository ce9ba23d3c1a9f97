#include "store/batch_applier.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "store/kv_errors.h"
#include "store/mvcc.h"
#include "store/session_answer.h"
#include "store/txn.h"

namespace raftkv::store {
namespace {

std::string Name(const Entry& entry) {
  return "entry " + std::to_string(entry.index.value()) + " of term " +
         std::to_string(entry.term.value());
}

// Keeps the response only if the request succeeded.
template <typename Response>
void SetResult(Status status, Response&& response, ApplyResult* result) {
  RAFTKV_CHECK(status.code() != Code::kCorruption && status.code() != Code::kIoError,
               "reading applied state: " + status.message());
  if (status.ok()) result->response = std::forward<Response>(response);
  result->status = std::move(status);
}

}  // namespace

BatchApplier::BatchApplier(Engine* engine, SessionTable* sessions, const AppliedRecord& before)
    : engine_(engine),
      sessions_(sessions),
      applied_(before),
      writer_(engine->db(), engine->kv(), before.revision) {}

void BatchApplier::Apply(const Entry& entry, ApplyResult* result) {
  RAFTKV_CHECK(entry.index == applied_.position.index + 1,
               Name(entry) + " does not follow the applied index " +
                   std::to_string(applied_.position.index.value()));
  RAFTKV_CHECK(entry.term >= applied_.position.term, Name(entry) + " is of an older term");
  if (entry.kind == EntryKind::kCommand) {
    StatusOr<Command> command = DecodeCommand(entry.bytes());
    RAFTKV_CHECK(command.ok(), Name(entry) + ": " + command.status().ToString());
    ApplyCommand(*command, result);
  }
  applied_.position = entry.position();
}

void BatchApplier::ApplyCommand(const Command& command, ApplyResult* result) {
  applied_.time_ms = std::max(applied_.time_ms, command.time_ms);
  if (!command.session.present()) {
    Execute(command, result);
    return;
  }
  SessionTable::Verdict verdict =
      sessions_->Admit(command.session, applied_.time_ms, &applied_.sessions);
  if (!verdict.refused.ok()) {
    result->status = std::move(verdict.refused);
  } else if (verdict.answer) {
    *result = FromSessionRecord(*verdict.answer);
  } else {
    Execute(command, result);
    sessions_->Store(command.session, applied_.time_ms, ToSessionRecord(*result),
                     &applied_.sessions);
  }
}

template <typename Request>
const Request& BatchApplier::Parse(const Command& command) {
  auto* request = google::protobuf::Arena::CreateMessage<Request>(&arena_);
  RAFTKV_CHECK(request->ParseFromArray(command.body.data(), static_cast<int>(command.body.size())),
               "a " + std::string(CommandTypeName(command.type)) + " command can't be parsed");
  return *request;
}

void BatchApplier::Execute(const Command& command, ApplyResult* result) {
  switch (command.type) {
    case CommandType::kPut: {
      Transaction transaction(&writer_, applied_.compact_revision);
      etcdserverpb::PutResponse response;
      Status status = transaction.Put(Parse<etcdserverpb::PutRequest>(command), &response);
      SetResult(std::move(status), std::move(response), result);
      break;
    }
    case CommandType::kDeleteRange: {
      Transaction transaction(&writer_, applied_.compact_revision);
      etcdserverpb::DeleteRangeResponse response;
      Status status =
          transaction.DeleteRange(Parse<etcdserverpb::DeleteRangeRequest>(command), &response);
      SetResult(std::move(status), std::move(response), result);
      break;
    }
    case CommandType::kTxn: {
      Transaction transaction(&writer_, applied_.compact_revision);
      etcdserverpb::TxnResponse response;
      Status status = transaction.Run(Parse<etcdserverpb::TxnRequest>(command), &response);
      SetResult(std::move(status), std::move(response), result);
      break;
    }
    case CommandType::kCompact: {
      etcdserverpb::CompactionResponse response;
      Status status =
          Compact(Parse<etcdserverpb::CompactionRequest>(command).revision(), &response);
      SetResult(std::move(status), std::move(response), result);
      break;
    }
    case CommandType::kMemberAttributes:
      StoreMember(Parse<etcdserverpb::Member>(command));
      break;
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
  const std::string key = MemberKey(NodeId(member.id()));
  const rocksdb::Status status =
      writer_.batch()->Put(engine_->kv(), key, EncodeMemberRecord(key, member.SerializeAsString()));
  RAFTKV_CHECK(status.ok(), status.ToString());
}

rocksdb::WriteBatch* BatchApplier::Finish() {
  applied_.revision = writer_.begin_revision();
  sessions_->Flush(writer_.batch());
  const rocksdb::Status status =
      writer_.batch()->Put(engine_->kv(), AppliedKey(), EncodeAppliedRecord(applied_));
  RAFTKV_CHECK(status.ok(), status.ToString());
  return writer_.batch();
}

}  // namespace raftkv::store
