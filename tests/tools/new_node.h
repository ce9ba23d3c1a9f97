// What a tool made, looked at as a starting node looks at it.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/status.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "wal/log_store.h"

namespace raftkv::tools {

// Aborts where a node would not start.
class NewNode {
 public:
  explicit NewNode(const std::string& data_dir);

  const store::NodeIdentity& identity() const { return engine_->identity(); }
  const wal::RecoveredLog& log() const { return log_; }
  store::KvStore* kv() { return kv_.get(); }

  // Live keys with their values.
  std::map<std::string, std::string> Keys() const;

 private:
  std::unique_ptr<store::Engine> engine_;
  wal::RecoveredLog log_;
  std::unique_ptr<store::KvStore> kv_;
};

// Live keys of a store with their values.
std::map<std::string, std::string> KeysOf(const store::KvStore& kv);

}  // namespace raftkv::tools
