#include "tools/dump/report.h"

#include <unistd.h>

#include <cerrno>

#include "common/check.h"

namespace raftkv::tools::dump {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

constexpr char kClearLine[] = "\r\033[K";

std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    if (n < 0 && errno != EINTR) return false;
  }
  return true;
}

StatusOr<Format> ParseFormat(const std::string& name) {
  if (name == "text") return Format::kText;
  if (name == "json") return Format::kJson;
  if (name == "jsonl") return Format::kJsonLines;
  return Status(Code::kInvalidArgument,
                "unknown output format '" + name + "' (text, json or jsonl)");
}

void Report::Record(const std::function<std::string()>& text, const std::function<Json()>& json) {
  if (output_.format != Format::kJson) {
    WriteLine(output_.format == Format::kText ? text() : Dump(json(), -1));
    return;
  }
  if (output_.shape == Shape::kStream) return WriteElement(json());
  RAFTKV_CHECK(!state_.begun, "a JSON document has one record");
  std::string open = Dump(json(), 2);
  open.resize(open.size() - std::string_view("\n}").size());
  Write(open + ",\n  \"problems\": [");
  state_.begun = true;
}

void Report::Problem(const std::string& what, const Json& fields) {
  const auto json = [&] {
    Json problem{{"type", "problem"}, {"what", what}};
    problem.update(fields);
    return problem;
  };
  if (output_.format == Format::kJson) {
    WriteElement(json());
  } else {
    WriteLine(output_.format == Format::kText ? "PROBLEM: " + what : Dump(json(), -1));
  }
  ++state_.problems;
  // What led here must not be lost if the next read is one that crashes.
  Flush();
}

void Report::WriteLine(const std::string& line) {
  Write(line + "\n");
  state_.begun = true;
}

// An element of the array that is, or is in, the JSON document.
void Report::WriteElement(const Json& json) {
  const bool stream = output_.shape == Shape::kStream;
  if (!state_.begun) Write(stream ? "[" : "{\n  \"problems\": [");
  const bool first = stream ? !state_.begun : state_.problems == 0;
  Write((first ? "\n" : ",\n") + Dump(json, -1));
  state_.begun = true;
}

void Report::Finish() {
  if (output_.format == Format::kJson) {
    const bool stream = output_.shape == Shape::kStream;
    if (!state_.begun) Write(stream ? "[" : "{\n  \"problems\": [");
    Write(stream ? "\n]\n" : "]\n}\n");
  }
  Flush();
}

void Report::Write(std::string_view text) {
  buffer_.append(text);
  if (buffer_.size() >= kBufferBytes) Flush();
}

bool Report::Flush() {
  if (buffer_.empty()) return !failed_;
  ShowOnTerminal("");
  if (!failed_ && !WriteAll(output_.fd, buffer_)) failed_ = true;
  buffer_.clear();
  *written_ = state_;
  return !failed_;
}

void Report::ShowOnTerminal(std::string_view line) {
  if (output_.terminal_fd < 0 || (line.empty() && !terminal_in_use_)) return;
  WriteAll(output_.terminal_fd, kClearLine);
  WriteAll(output_.terminal_fd, line);
  terminal_in_use_ = !line.empty();
}

}  // namespace raftkv::tools::dump
