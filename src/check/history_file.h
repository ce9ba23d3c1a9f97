// Histories as JSON lines, one operation a line: docs/history-format.md.
#pragma once

#include <istream>
#include <string>
#include <string_view>

#include "check/history.h"
#include "common/status.h"

namespace raftkv::check {

// kInvalidArgument with the number of the line and what is wrong with it. A field that the format
// does not have is refused, because a misspelt one would make the check weaker without a word.
StatusOr<History> ReadHistory(std::istream& in);

// One line of the file. A line's number is not set, and "range" is left as it is.
StatusOr<Operation> ParseOperation(std::string_view line);

// Replaces each "range" by a get of every key of the history that lies in it, but for those that
// are impossible. ReadHistory has done that.
void ExpandRanges(History* history);

// The operation as a line, without a line feed. The inverse of ParseOperation; a range that was
// expanded becomes a transaction of gets.
std::string FormatOperation(const Operation& op);

}  // namespace raftkv::check
