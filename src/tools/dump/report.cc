#include "tools/dump/report.h"

#include <unistd.h>

#include <cerrno>

namespace raftkv::tools::dump {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

}  // namespace

StatusOr<Format> ParseFormat(const std::string& name) {
  if (name == "text") return Format::kText;
  if (name == "json") return Format::kJson;
  if (name == "jsonl") return Format::kJsonLines;
  return Status(Code::kInvalidArgument,
                "unknown output format '" + name + "' (text, json or jsonl)");
}

void Report::Record(const std::function<std::string()>& text, const std::function<Json()>& json) {
  switch (format_) {
    case Format::kText:
      Write(text());
      break;
    case Format::kJson:
      Write(json().dump(2, ' ', false, Json::error_handler_t::replace));
      break;
    case Format::kJsonLines:
      Write(json().dump(-1, ' ', false, Json::error_handler_t::replace));
      break;
  }
}

void Report::Problem(const std::string& what) {
  ++problems_;
  Record([&] { return "PROBLEM: " + what; },
         [&] {
           return Json{{"type", "problem"}, {"what", what}};
         });
  // What led here must not be lost if the next read is one that crashes.
  Flush();
}

void Report::Write(std::string_view line) {
  buffer_.append(line);
  buffer_.push_back('\n');
  if (buffer_.size() >= kBufferBytes) Flush();
}

bool Report::Flush() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !failed_) {
    const ssize_t n = write(fd_, rest.data(), rest.size());
    if (n > 0) rest.remove_prefix(static_cast<size_t>(n));
    if (n < 0 && errno != EINTR) failed_ = true;
  }
  buffer_.clear();
  return !failed_;
}

}  // namespace raftkv::tools::dump
