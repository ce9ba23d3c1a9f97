// Where raftkv-dump's findings go: text for people, JSON for programs.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/status.h"

namespace raftkv::tools::dump {

using Json = nlohmann::ordered_json;

enum class Format {
  kText,
  kJson,       // one indented object (meta)
  kJsonLines,  // one object a line
};

// kInvalidArgument for an unknown name.
StatusOr<Format> ParseFormat(const std::string& name);

// Exit codes: part of the interface.
inline constexpr int kExitFine = 0;
inline constexpr int kExitProblems = 1;     // the directory was read, and something in it is wrong
inline constexpr int kExitCouldNotRun = 2;  // nothing was found out

// Writes records and counts problems. Buffers, since a dump may have millions of lines; after a
// crash of the process FlushInCrash writes what is buffered. Not thread-safe.
class Report {
 public:
  // Writes to `fd`, which stays the caller's.
  Report(Format format, int fd) : format_(format), fd_(fd) {}
  ~Report() { Flush(); }
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // One record; only the function that the format needs is called. Text without a newline.
  void Record(const std::function<std::string()>& text, const std::function<Json()>& json);

  // Something is wrong with the directory.
  void Problem(const std::string& what);

  size_t problems() const { return problems_; }
  Format format() const { return format_; }
  int exit_code() const { return problems_ == 0 ? kExitFine : kExitProblems; }

  // False if anything could not be written, now or before.
  bool Flush();

 private:
  void Write(std::string_view line);

  const Format format_;
  const int fd_;
  std::string buffer_;
  size_t problems_ = 0;
  bool failed_ = false;
};

}  // namespace raftkv::tools::dump
