#include "tools/dump/dump_log.h"

#include <algorithm>

#include "tools/dump/describe.h"
#include "tools/dump/log_reader.h"

namespace raftkv::tools::dump {
namespace {

std::string Number(uint64_t n) { return std::to_string(n); }

// Reports records as they come and remembers what the next one is held against.
class LogDumper {
 public:
  LogDumper(const LogOptions& options, Report* report) : options_(options), report_(report) {}

  void Dump(const LogRecord& record) {
    if (!record.missing_to.none()) {
      report_->Problem("entries " + Number(record.index.value()) + " to " +
                       Number(record.missing_to.value()) + " are missing");
      return;
    }
    if (!record.entry.ok()) {
      Damaged(record, record.entry.status());
      return;
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
      return;
    }
    ++entries_;
    Print(record, *command);
    if (entry.term < last_term_) {
      report_->Problem("entry " + Number(record.index.value()) + " has term " +
                       Number(entry.term.value()) + ", lower than term " +
                       Number(last_term_.value()) + " before it");
    }
    last_term_ = std::max(last_term_, entry.term);
  }

  uint64_t entries() const { return entries_; }

 private:
  void Damaged(const LogRecord& record, const Status& why) {
    report_->Problem("entry " + Number(record.index.value()) + " is damaged: " + why.message());
  }

  void Print(const LogRecord& record, const Json& command) {
    const wal::EntryView& entry = *record.entry;
    report_->Record(
        [&] {
          std::string line = "index " + Number(record.index.value()) + " term " +
                             Number(entry.term.value()) + " " +
                             std::string(EntryKindName(entry.kind)) + ", " + Number(record.bytes) +
                             " bytes, crc ok";
          if (!command.is_null()) {
            const bool config = entry.kind == EntryKind::kConfig;
            line += ": " + (config ? ConfigText(command) : CommandText(command));
          }
          return line;
        },
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
          return json;
        });
  }

  const LogOptions options_;
  Report* const report_;
  Term last_term_;
  uint64_t entries_ = 0;
};

}  // namespace

Status DumpLog(const NodeDirectory& directory, const LogOptions& options, Report* report) {
  const LogMeta meta = ReadLogMeta(directory.engine());
  // Without it stale entries in front of the log can't be told from the log.
  if (!meta.before_first.ok()) {
    report->Problem("the record of where the log starts: " + meta.before_first.status().message());
  }
  RAFTKV_ASSIGN_OR_RETURN(const LogBounds bounds, ReadLogBounds(directory.engine(), meta));
  const Index from = std::max(bounds.first, Index(options.from.value_or(0)));
  const Index to = std::min(bounds.last, Index(options.to.value_or(UINT64_MAX)));
  LogDumper dumper(options, report);
  if (from <= to) {
    RAFTKV_RETURN_IF_ERROR(ForEachRecord(directory.engine(), from, to,
                                         [&](const LogRecord& record) { dumper.Dump(record); }));
  }
  report->Record(
      [&] {
        return Number(dumper.entries()) + " entries; the log is " +
               (bounds.first > bounds.last
                    ? "empty"
                    : Number(bounds.first.value()) + " to " + Number(bounds.last.value()));
      },
      [&] {
        return Json{{"type", "end"},
                    {"entries", dumper.entries()},
                    {"first", bounds.first.value()},
                    {"last", bounds.last.value()},
                    {"problems", report->problems()}};
      });
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
