// What a node is told at start: flags and the config file, checked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/identity.h"
#include "common/status.h"
#include "common/types.h"
#include "common/url.h"

namespace raftkv::server {

using raftkv::DeriveNodeId;
using raftkv::NewMemberId;
using raftkv::ParseUrl;
using raftkv::Url;

// One member of --initial-cluster.
struct MemberOptions {
  std::string name;
  NodeId id;
  Url peer_url;
};

// Flags that etcd has with the same meaning carry etcd's names; defaults are etcd's too.
struct ServerOptions {
  std::string name = "default";
  std::string data_dir;  // default: ./<name>.raftkv
  std::vector<Url> listen_client_urls;
  std::vector<Url> advertise_client_urls;
  std::vector<Url> listen_peer_urls;
  std::vector<Url> initial_advertise_peer_urls;
  std::vector<Url> listen_http_urls;
  std::vector<Url> advertise_http_urls;
  std::vector<MemberOptions> initial_cluster;  // includes this node
  std::string initial_cluster_token = "raftkv-cluster";
  uint32_t heartbeat_interval_ms = 100;
  uint32_t election_timeout_ms = 1000;
  // A snapshot's chunk has to hold a record of that size with its key escaped to twice its length
  // (store/snapshot_format.h), and a peer's link an append of it.
  uint64_t max_request_bytes = 1536 * 1024;
  uint32_t max_txn_ops = 128;
  uint32_t max_inflight_requests = 20000;
  uint64_t block_cache_bytes = 256ull << 20;
  uint64_t memtable_bytes = 64ull << 20;
  uint64_t wal_bytes_max = 128ull << 20;
  // What this node asks of the cluster, if anything: see session_limits_request.h.
  std::optional<uint64_t> session_ttl_ms;
  std::optional<uint64_t> max_sessions;
  bool join_existing = false;  // --initial-cluster-state existing
  // Entries kept in the log behind the durable applied state, for followers that are a little late.
  uint64_t snapshot_catchup_entries = 5000;
  uint64_t snapshot_catchup_bytes = 128ull << 20;  // and no more than about so much of them
  // The applied state is flushed when a restart would replay more than any of these; the last is
  // the time that applying it took.
  uint64_t replay_entries_max = 40'000;
  uint64_t replay_bytes_max = 16ull << 20;
  uint64_t replay_ms_max = 500;
  uint64_t snapshot_rate_bytes = 100ull << 20;       // a second; 0: no limit
  uint64_t free_space_reserve_bytes = 256ull << 20;  // NOSPACE below it; 0: off
  uint64_t corrupt_check_time_s = 3600;              // 0: off
  uint64_t defrag_rate_bytes = 32ull << 20;          // a second; 0: no limit
  uint32_t max_learners = 3;
  uint32_t client_threads = 1;  // those that take client requests, the event loop among them
  std::string log_level = "info";
  std::string log_format = "text";

  ClusterId cluster_id;
  NodeId id;

  // How long a request may wait for its outcome, as etcd: 5 s and two elections.
  uint64_t RequestTimeoutMs() const { return 5000 + 2ull * election_timeout_ms; }
};

// The cluster's id: see common/identity.h.
ClusterId DeriveClusterId(const std::string& token, const std::vector<MemberOptions>& members);

// The outcome of reading the command line.
struct ParsedOptions {
  ServerOptions options;
  bool exit_now = false;  // --help or --version: print `output` and exit with `exit_code`
  int exit_code = 0;
  std::string output;
};

// Reads flags and --config-file; flags win. A wrong flag, key or value is kInvalidArgument with a
// message that says what to do.
StatusOr<ParsedOptions> ParseOptions(int argc, const char* const* argv);

// The version this binary reports, e.g. "0.1.0".
std::string Version();

// The etcd release whose client API this is; clients choose features by it.
inline constexpr char kEtcdApiVersion[] = "3.5.0";

}  // namespace raftkv::server
