// One run, from the first node's start to the report.
#pragma once

#include "torture/options.h"

namespace raftkv::torture {

// Prints what happens and the report. The program's exit code.
int Run(Options options);

}  // namespace raftkv::torture
