#include "store/session_answer.h"

#include <string_view>
#include <type_traits>

#include "common/check.h"
#include "common/coding.h"
#include "store/kv_errors.h"
#include "store/session_table.h"

namespace raftkv::store {
namespace {

// In the order of ApplyResult's alternatives.
constexpr AnswerKind kKinds[] = {AnswerKind::kNone, AnswerKind::kPut,     AnswerKind::kDeleteRange,
                                 AnswerKind::kTxn,  AnswerKind::kCompact, AnswerKind::kAlarm};

template <typename Response>
void ParseInto(const SessionRecord& record, ApplyResult* result) {
  RAFTKV_CHECK(result->response.emplace<Response>().ParseFromString(record.answer),
               "a session's answer is not the message it should be");
}

}  // namespace

SessionRecord ToSessionRecord(const ApplyResult& result) {
  SessionRecord record;
  const auto too_large = [&record](int64_t revision) {
    record.kind = AnswerKind::kTooLarge;
    AppendVarint(&record.answer, static_cast<uint64_t>(revision));
  };
  if (result.given_up_at != 0) {
    too_large(result.given_up_at);
    return record;
  }
  record.status = result.status;
  record.kind = kKinds[result.response.index()];
  std::visit(
      [&](const auto& response) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(response)>, std::monostate>) {
          if (response.ByteSizeLong() <= kSessionAnswerBytesMax) {
            response.SerializeToString(&record.answer);
          } else {
            too_large(response.header().revision());
          }
        }
      },
      result.response);
  return record;
}

ApplyResult FromSessionRecord(const SessionRecord& record) {
  ApplyResult result;
  result.from_session = true;
  result.status = record.status;
  switch (record.kind) {
    case AnswerKind::kNone:
      break;
    case AnswerKind::kPut:
      ParseInto<etcdserverpb::PutResponse>(record, &result);
      break;
    case AnswerKind::kDeleteRange:
      ParseInto<etcdserverpb::DeleteRangeResponse>(record, &result);
      break;
    case AnswerKind::kTxn:
      ParseInto<etcdserverpb::TxnResponse>(record, &result);
      break;
    case AnswerKind::kCompact:
      ParseInto<etcdserverpb::CompactionResponse>(record, &result);
      break;
    case AnswerKind::kAlarm:
      ParseInto<etcdserverpb::AlarmResponse>(record, &result);
      break;
    case AnswerKind::kTooLarge: {
      std::string_view in = record.answer;
      uint64_t revision = 0;
      RAFTKV_CHECK(ConsumeVarint(&in, &revision), "a session's record is cut off");
      result.status = ErrSessionAnswerTooLarge(static_cast<int64_t>(revision));
      break;
    }
  }
  return result;
}

}  // namespace raftkv::store
