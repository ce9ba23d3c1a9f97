// Where a command that makes a new directory (--out) may put it.
#pragma once

#include <string>

#include "common/status.h"

namespace raftkv::tools::dump {

// kFailedPrecondition, saying what to do, unless `out` can be made: it does not exist, the
// directory to make it in does, and that is not `source` or inside it, by whatever name. Changes
// nothing.
Status CheckOutDirectory(const std::string& out, const std::string& source);

}  // namespace raftkv::tools::dump
