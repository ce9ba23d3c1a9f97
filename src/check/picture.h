// An illegal history as a picture.
#pragma once

#include <string>

#include "check/checker.h"
#include "check/history.h"

namespace raftkv::check {

// One HTML page that needs nothing else: for each violation the operations on its keys around it,
// a row a client and a bar an operation, those that make up the violation marked.
std::string Picture(const History& history, const CheckReport& report, const std::string& title);

}  // namespace raftkv::check
