// Whole directories of several shapes, as runs of the engine, the log and the store leave them:
// what a damage test breaks.
#pragma once

#include <string>
#include <vector>

namespace raftkv::tools::dump {

struct DamageBase {
  std::string name;
  void (*make)(const std::string& path);  // `path` does not exist
};

// Fresh, unflushed, after a clean stop, tables in several levels and a compaction, torn tail, log
// cut, snapshot installed.
const std::vector<DamageBase>& DamageBases();

}  // namespace raftkv::tools::dump
