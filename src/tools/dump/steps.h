// Work in steps, of which each may crash without hiding what the others find.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "tools/dump/findings.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

struct Step {
  std::string name;  // "reading the log"
  // In a child process that the steps share until one of them crashes. False: those behind it that
  // need it are not done.
  std::function<bool(Findings*)> run;
  bool needs_first = false;  // not done unless the first step returned true
};

// Does the steps in order and shows what they find; a crash is one more problem, and the next step
// goes on in a new child. kIoError when there can't be a child.
Status RunSteps(const std::vector<Step>& steps, uint64_t shown_max,
                const std::function<void(const Json&)>& show);

}  // namespace raftkv::tools::dump
