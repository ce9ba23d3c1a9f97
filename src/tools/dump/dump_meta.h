// raftkv-dump meta: whose directory it is, and how far log and applied state go.
#pragma once

#include "tools/dump/directory.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

struct MetaOptions {
  // Also read every entry of the log, as a starting node does.
  bool verify = true;
};

// Reports one record, and as problems everything that would keep a node from starting. An error is
// why it could not be done.
Status DumpMeta(const NodeDirectory& directory, const MetaOptions& options, Report* report);

}  // namespace raftkv::tools::dump
