// The configurations that a node's directory knows of, oldest first: the one its log begins with,
// and those in the log.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/membership.h"
#include "common/status.h"
#include "store/engine.h"
#include "tools/dump/log_reader.h"

namespace raftkv::tools::dump {

struct Configuration {
  LogPosition position;  // of its entry; of the log's start for the first
  bool in_log = false;   // false: the one at the log's start
  Membership membership;
};

// Reads the whole log. `read` is called for every record, `damaged` with what can't be read; a
// damaged entry may have been a configuration. The last is in force: Raft goes by the newest
// configuration in its log, committed or not (paper, section 6).
StatusOr<std::vector<Configuration>> ReadConfigurations(
    store::Engine* engine, const LogMeta& meta, const std::function<void()>& read,
    const std::function<void(const std::string&)>& damaged);

}  // namespace raftkv::tools::dump
