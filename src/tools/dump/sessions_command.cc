// raftkv-dump sessions: what the applied state remembers of clients, so that a write that is sent
// again is applied once.
#include <optional>
#include <string>

#include "store/kv_kinds.h"
#include "store/mvcc.h"
#include "tools/dump/commands.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/facts.h"
#include "tools/dump/kv_records.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

std::string AnswerName(store::AnswerKind kind) {
  switch (kind) {
    case store::AnswerKind::kNone:
      return "none";
    case store::AnswerKind::kPut:
      return "put";
    case store::AnswerKind::kDeleteRange:
      return "delete";
    case store::AnswerKind::kTxn:
      return "txn";
    case store::AnswerKind::kCompact:
      return "compact";
    case store::AnswerKind::kTooLarge:
      return "too-large";
    case store::AnswerKind::kAlarm:
      return "alarm";
  }
  return "unknown";
}

void Show(std::string_view client, const store::SessionRecord& session, Report* report) {
  report->Record(
      [&] {
        std::string text = EscapeText(client) + "  sequence " + std::to_string(session.sequence) +
                           ", last used " + TimeText(session.last_used_ms) + ", answer " +
                           AnswerName(session.kind) + " (" + std::to_string(session.answer.size()) +
                           " bytes)";
        if (!session.status.ok()) text += ", refused: " + session.status.ToString();
        return text;
      },
      [&] {
        Json json{{"type", "session"},
                  {"client", Base64(client)},
                  {"sequence", session.sequence},
                  {"last_used_ms", session.last_used_ms},
                  {"answer", AnswerName(session.kind)},
                  {"answer_bytes", session.answer.size()},
                  {"status", CodeName(session.status.code())}};
        if (!session.status.ok()) json["message"] = session.status.message();
        return json;
      });
}

class SessionsCommand : public DirectoryCommand {
 public:
  explicit SessionsCommand(CLI::App* app)
      : DirectoryCommand(
            app,
            {.name = "sessions",
             .description = "The client sessions of the applied state: the last write of "
                            "each that was applied, and what it was answered",
             .example = "raftkv-dump sessions data/n1 --limit 20"},
            Live::kAllowed) {
    this->app()->add_option("--client", client_, "Only the session of this client id");
    this->app()->add_option("--limit", limit_, "At most so many");
  }

 private:
  Status RunOn(const NodeDirectory& directory, Report* report) override;

  std::optional<std::string> client_;
  std::optional<uint64_t> limit_;
};

Status SessionsCommand::RunOn(const NodeDirectory& directory, Report* report) {
  uint64_t shown = 0;
  RAFTKV_RETURN_IF_ERROR(ForEachKvRecord(
      directory.engine(), store::kSessionKind, [&](std::string_view key, std::string_view bytes) {
        if (limit_ && shown >= *limit_) return false;
        std::string_view client;
        Status status = store::DecodeSessionKey(key, &client);
        if (status.ok() && client_ && client != *client_) return true;
        if (status.ok()) {
          const StatusOr<store::SessionRecord> session = store::DecodeSessionRecord(key, bytes);
          status = session.status();
          if (session.ok()) {
            ++shown;
            Show(client, *session, report);
          }
        }
        if (!status.ok()) report->Problem(status.message());
        return true;
      }));
  report->Record(
      [&] { return std::to_string(shown) + " sessions"; },
      [&] {
        return Json{{"type", "end"}, {"sessions", shown}, {"problems", report->problems()}};
      });
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Command> MakeSessionsCommand(CLI::App* app) {
  return std::make_unique<SessionsCommand>(app);
}

}  // namespace raftkv::tools::dump
