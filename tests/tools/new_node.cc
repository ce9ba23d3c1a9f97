#include "tools/new_node.h"

#include "common/check.h"
#include "wal/manifest_check.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools {

NewNode::NewNode(const std::string& data_dir) {
  store::EngineOptions options;
  options.path = data_dir + "/db";
  const Status manifest = wal::CheckManifest(options.path);
  RAFTKV_CHECK(manifest.ok(), manifest.ToString());
  options.wal_recovery = wal::ScanWalFiles(options.path).value().recovery;
  engine_ = store::Engine::Open(options).value();
  log_ = wal::LogStore(engine_.get()).Recover().value();
  kv_ = store::KvStore::Open(engine_.get()).value();
  const LogPosition applied = kv_->applied().position;
  RAFTKV_CHECK(applied == log_.before_first, "the applied state is not that of the log's start");
}

std::map<std::string, std::string> NewNode::Keys() const { return KeysOf(*kv_); }

std::map<std::string, std::string> KeysOf(const store::KvStore& kv) {
  etcdserverpb::RangeRequest everything;
  everything.set_key(std::string(1, '\0'));
  everything.set_range_end(std::string(1, '\0'));
  std::map<std::string, std::string> keys;
  const etcdserverpb::RangeResponse response = kv.Range(everything).value();
  for (const auto& kv_pair : response.kvs()) keys[kv_pair.key()] = kv_pair.value();
  return keys;
}

}  // namespace raftkv::tools
