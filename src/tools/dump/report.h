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
  kJson,       // one JSON document, whatever happens
  kJsonLines,  // one object a line
};

// What the JSON document of a command is.
enum class Shape {
  kStream,    // an array of the records and problems, as they come
  kDocument,  // one object: the command's only record, with its problems as the field "problems"
};

// Writes all of `bytes`, which is safe in a signal handler. False when it could not.
bool WriteAll(int fd, std::string_view bytes);

// kInvalidArgument for an unknown name.
StatusOr<Format> ParseFormat(const std::string& name);

// Exit codes: part of the interface.
inline constexpr int kExitFine = 0;
inline constexpr int kExitProblems = 1;     // the directory was read, and something in it is wrong
inline constexpr int kExitCouldNotRun = 2;  // nothing was found out

struct Output {
  Format format = Format::kText;
  Shape shape = Shape::kStream;
  int fd = -1;           // stays the caller's
  int terminal_fd = -1;  // for Progress; -1: nobody is looking
};

// How far a report got, so that another process can end what a crash cut off.
struct ReportState {
  bool begun = false;   // something has been written
  size_t problems = 0;  // those written
};

// Writes records and counts problems. Buffers, since a dump may have millions of lines. Not
// thread-safe.
class Report {
 public:
  // Goes on from `state`; brings it up to date whenever something has been written.
  Report(const Output& output, ReportState* state)
      : output_(output), state_(*state), written_(state) {}
  ~Report() { Flush(); }
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // One record; only the function that the format needs is called. Text without a newline. With
  // Shape::kDocument there is one, and it comes before any problem.
  void Record(const std::function<std::string()>& text, const std::function<Json()>& json);

  // Something is wrong with the directory. `fields` are added to the JSON record, for programs.
  void Problem(const std::string& what, const Json& fields = Json::object());

  // Nothing comes after this: closes the JSON document.
  void Finish();

  // Whether there was a record or a problem.
  bool begun() const { return state_.begun; }
  size_t problems() const { return state_.problems; }
  const Output& output() const { return output_; }
  int exit_code() const { return problems() == 0 ? kExitFine : kExitProblems; }

  // False if anything could not be written, now or before.
  bool Flush();

  // For Progress: shows `line` on the terminal, where output replaces it; empty: takes it away.
  void ShowOnTerminal(std::string_view line);

 private:
  void Write(std::string_view text);
  void WriteLine(const std::string& line);
  void WriteElement(const Json& json);

  const Output output_;
  ReportState state_;
  ReportState* const written_;
  std::string buffer_;
  bool failed_ = false;
  bool terminal_in_use_ = false;
};

}  // namespace raftkv::tools::dump
