#include <algorithm>
#include <optional>

#include "tools/dump/commands.h"
#include "tools/dump/describe.h"
#include "tools/dump/directory_command.h"
#include "tools/dump/log_reader.h"
#include "tools/dump/progress.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

std::string Number(uint64_t n) { return std::to_string(n); }

struct LogOptions {
  std::optional<uint64_t> from;  // none: the first entry
  std::optional<uint64_t> to;    // none: the last
  std::optional<uint64_t> term;
  std::string kind;  // empty: any
  std::optional<std::string> key;
  std::string grep;
  std::optional<uint64_t> limit;
  bool values = false;  // show the bytes of values, not only their size
  bool raw = false;     // show the bytes of records
};

// Reports records as they come and remembers what the next one is held against.
class LogDumper {
 public:
  LogDumper(const LogOptions& options, Report* report) : options_(options), report_(report) {}

  // False when no more are wanted.
  bool Dump(const LogRecord& record) {
    if (!record.missing_to.none()) {
      report_->Problem("entries " + Number(record.index.value()) + " to " +
                       Number(record.missing_to.value()) + " are missing");
      return true;
    }
    if (!record.entry.ok()) {
      Damaged(record, record.entry.status());
      return true;
    }
    const wal::EntryView& entry = *record.entry;
    StatusOr<Json> command = Json();
    if (entry.kind == EntryKind::kCommand) {
      command = DescribeCommand(entry.payload, {options_.values});
    } else if (entry.kind == EntryKind::kConfig) {
      command = DescribeConfig(entry.payload);
    }
    if (!command.ok()) {
      // The checksum is right: these are the bytes that were written.
      Damaged(record, command.status());
      return true;
    }
    if (Wanted(record, *command)) {
      ++shown_;
      Print(record, *command);
    }
    if (entry.term < last_term_) {
      report_->Problem("entry " + Number(record.index.value()) + " has term " +
                       Number(entry.term.value()) + ", lower than term " +
                       Number(last_term_.value()) + " before it");
    }
    last_term_ = std::max(last_term_, entry.term);
    return shown_ != options_.limit;
  }

  uint64_t shown() const { return shown_; }

 private:
  void Damaged(const LogRecord& record, const Status& why) {
    report_->Problem("entry " + Number(record.index.value()) + " is damaged: " + why.message());
  }

  bool Wanted(const LogRecord& record, const Json& command) const {
    const wal::EntryView& entry = *record.entry;
    if (options_.term && entry.term.value() != *options_.term) return false;
    if (!options_.kind.empty() && EntryKindName(entry.kind) != options_.kind) return false;
    if (options_.key && !Touches(command, *options_.key)) return false;
    return options_.grep.empty() || Text(record, command).find(options_.grep) != std::string::npos;
  }

  static std::string Text(const LogRecord& record, const Json& command) {
    const wal::EntryView& entry = *record.entry;
    std::string line = "index " + Number(record.index.value()) + " term " +
                       Number(entry.term.value()) + " " + std::string(EntryKindName(entry.kind)) +
                       ", " + Number(record.bytes) + " bytes, crc ok";
    if (!command.is_null()) {
      const bool config = entry.kind == EntryKind::kConfig;
      line += ": " + (config ? ConfigText(command) : CommandText(command));
    }
    return line;
  }

  void Print(const LogRecord& record, const Json& command) {
    const wal::EntryView& entry = *record.entry;
    report_->Record(
        [&] { return Text(record, command) + (options_.raw ? "\n  " + Hex(record.raw) : ""); },
        [&] {
          Json json{{"type", "entry"},
                    {"index", record.index.value()},
                    {"term", entry.term.value()},
                    {"kind", EntryKindName(entry.kind)},
                    {"record_bytes", record.bytes},
                    {"payload_bytes", entry.payload.size()},
                    {"crc", "ok"}};
          if (!command.is_null()) {
            json[entry.kind == EntryKind::kConfig ? "config" : "command"] = command;
          }
          if (options_.raw) json["raw"] = Base64(record.raw);
          return json;
        });
  }

  const LogOptions options_;
  Report* const report_;
  Term last_term_;
  uint64_t shown_ = 0;
};

class LogCommand : public DirectoryCommand {
 public:
  explicit LogCommand(CLI::App* app)
      : DirectoryCommand(
            app,
            {.name = "log",
             .description = "The Raft log, entry by entry",
             .example = "raftkv-dump log data/n1 --from 10 --kind command --key config/a --values"},
            Live::kAllowed) {
    CLI::App* const flags = this->app();
    flags->add_option("--from", options_.from, "First index (default: the first there is)");
    flags->add_option("--to", options_.to, "Last index (default: the last there is)");
    flags->add_option("--term", options_.term, "Only entries of this term");
    flags->add_option("--kind", options_.kind, "Only entries of this kind")
        ->check(CLI::IsMember({"noop", "command", "config"}));
    flags->add_option("--key", options_.key, "Only commands that read or write this key");
    flags->add_flag("--hex-input", hex_input_, "The key on the command line is hexadecimal");
    flags->add_option("--grep", options_.grep, "Only entries whose line of text contains this");
    flags->add_option("--limit", options_.limit, "At most so many");
    flags->add_flag("--values", options_.values, "Show the bytes of values");
    flags->add_flag("--raw", options_.raw,
                    "Show the bytes of each record, header and CRC included");
  }

 private:
  Status Prepare() override;
  Status RunOn(const NodeDirectory& directory, Report* report) override;

  LogOptions options_;
  bool hex_input_ = false;
};

Status LogCommand::Prepare() {
  RAFTKV_RETURN_IF_ERROR(DirectoryCommand::Prepare());
  if (!hex_input_ || !options_.key) return Status::Ok();
  return FromHexInput(&*options_.key);
}

Status LogCommand::RunOn(const NodeDirectory& directory, Report* report) {
  const LogMeta meta = ReadLogMeta(directory.engine());
  // Without it stale entries in front of the log can't be told from the log.
  if (!meta.before_first.ok()) {
    report->Problem("the record of where the log starts: " + meta.before_first.status().message());
  }
  RAFTKV_ASSIGN_OR_RETURN(const LogBounds bounds, ReadLogBounds(directory.engine(), meta));
  const Index from = std::max(bounds.first, Index(options_.from.value_or(0)));
  const Index to = std::min(bounds.last, Index(options_.to.value_or(UINT64_MAX)));
  LogDumper dumper(options_, report);
  if (from <= to && options_.limit != 0) {
    Progress progress(report, "reading the log", "entries", to - from + 1);
    RAFTKV_RETURN_IF_ERROR(
        ForEachRecordWhile(directory.engine(), from, to, [&](const LogRecord& record) {
          progress.Add();
          return dumper.Dump(record);
        }));
  }
  report->Record(
      [&] {
        return Number(dumper.shown()) + " entries; the log is " +
               (bounds.first > bounds.last
                    ? "empty"
                    : Number(bounds.first.value()) + " to " + Number(bounds.last.value()));
      },
      [&] {
        return Json{{"type", "end"},
                    {"entries", dumper.shown()},
                    {"first", bounds.first.value()},
                    {"last", bounds.last.value()},
                    {"problems", report->problems()}};
      });
  return Status::Ok();
}

}  // namespace

std::unique_ptr<Command> MakeLogCommand(CLI::App* app) { return std::make_unique<LogCommand>(app); }

}  // namespace raftkv::tools::dump
