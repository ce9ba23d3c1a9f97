// What a node is told at start: flags and the config file, checked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/types.h"

namespace raftkv::server {

// An http:// URL taken apart. Only scheme, host and port are allowed.
struct Url {
  std::string host;
  uint16_t port = 0;

  std::string HostPort() const;  // "127.0.0.1:2379", IPv6 in brackets
  std::string ToString() const;  // "http://127.0.0.1:2379"
  bool operator==(const Url&) const = default;
};

StatusOr<Url> ParseUrl(const std::string& text);

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
  uint64_t max_request_bytes = 1536 * 1024;
  uint32_t max_txn_ops = 128;
  uint32_t max_inflight_requests = 20000;
  uint64_t block_cache_bytes = 256ull << 20;
  uint64_t memtable_bytes = 64ull << 20;
  uint64_t session_ttl_ms = 3600'000;
  uint64_t max_sessions = 100'000;
  uint32_t client_threads = 0;  // completion-queue threads; 0: one per four cores, at least one
  std::string log_level = "info";
  std::string log_format = "text";

  ClusterId cluster_id;
  NodeId id;

  // How long a request may wait for its outcome, as etcd: 5 s and two elections.
  uint64_t RequestTimeoutMs() const { return 5000 + 2ull * election_timeout_ms; }
};

// A member's id follows from the cluster token and its name, not from its addresses: a member may
// move. Likewise the cluster's from the token and all names.
NodeId DeriveNodeId(const std::string& token, const std::string& name);
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
