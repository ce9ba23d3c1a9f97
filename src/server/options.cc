#include "server/options.h"

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>

#include "common/utf8.h"

namespace raftkv::server {
namespace {

Status ParseUrls(const std::string& flag, const std::string& text, std::vector<Url>* urls) {
  for (const std::string& part : SplitCommas(text)) {
    StatusOr<Url> url = ParseUrl(part);
    if (!url.ok()) return {Code::kInvalidArgument, "--" + flag + ": " + url.status().message()};
    urls->push_back(*std::move(url));
  }
  if (urls->empty()) return {Code::kInvalidArgument, "--" + flag + ": give at least one URL"};
  return Status::Ok();
}

// Flags as text, before they are checked.
struct RawOptions {
  std::string listen_client_urls = "http://127.0.0.1:2379";
  std::string advertise_client_urls;
  std::string listen_peer_urls = "http://127.0.0.1:2380";
  std::string initial_advertise_peer_urls;
  std::string listen_http_urls = "http://127.0.0.1:2381";
  std::string advertise_http_urls;
  std::string initial_cluster;
  std::string initial_cluster_state = "new";
};

// CLI11 takes a quote that is not closed, or one cut off at a '#', for a part of the value: the
// node would be called '"n1'.
class ConfigFile : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::stringstream text;
    text << input.rdbuf();
    std::string line;
    for (int number = 1; std::getline(text, line); ++number) {
      if (const std::string problem = QuoteProblem(CLI::detail::trim(line)); !problem.empty()) {
        throw CLI::ConfigError("line " + std::to_string(number) + ": " + problem);
      }
    }
    text.clear();
    text.seekg(0);
    return CLI::ConfigTOML::from_config(text);
  }

 private:
  static std::string QuoteProblem(std::string_view line) {
    char quote = 0;
    if (line.starts_with(';')) return "";
    for (const char c : line) {
      if (quote == 0 && c == '#') return "";
      if (quote == 0 && (c == '"' || c == '\'')) {
        quote = c;
      } else if (c == quote) {
        quote = 0;
      } else if (c == '#') {
        return "a value with a '#' can't be given in a file, only as a flag";
      }
    }
    return quote == 0 ? "" : std::string("a quote (") + quote + ") is not closed";
  }
};

void DefineFlags(CLI::App* app, ServerOptions* o, RawOptions* raw) {
  app->add_option("--name", o->name, "This member's name; must be in --initial-cluster")
      ->capture_default_str();
  app->add_option("--data-dir", o->data_dir,
                  "Directory of this node's data (default: <name>.raftkv)");
  app->add_option("--listen-client-urls", raw->listen_client_urls,
                  "Where the client API (gRPC, etcd v3) listens")
      ->capture_default_str();
  app->add_option("--advertise-client-urls", raw->advertise_client_urls,
                  "Client URLs told to others (default: --listen-client-urls)");
  app->add_option("--listen-peer-urls", raw->listen_peer_urls, "Where other members reach this one")
      ->capture_default_str();
  app->add_option("--initial-advertise-peer-urls", raw->initial_advertise_peer_urls,
                  "Peer URLs told to others (default: --listen-peer-urls)");
  app->add_option("--listen-http-urls", raw->listen_http_urls,
                  "Where REST, health and metrics (HTTP) listen")
      ->capture_default_str();
  app->add_option("--advertise-http-urls", raw->advertise_http_urls,
                  "HTTP URLs told to others (default: --listen-http-urls)");
  app->add_option("--initial-cluster", raw->initial_cluster,
                  "All members: name=peer-url,... (default: this node alone)");
  app->add_option("--initial-cluster-state", raw->initial_cluster_state,
                  "'new', or 'existing' for a member that was added to a running cluster")
      ->check(CLI::IsMember({"new", "existing"}))
      ->capture_default_str();
  app->add_option("--initial-cluster-token", o->initial_cluster_token,
                  "Tells clusters apart: nodes with different tokens refuse each other")
      ->capture_default_str();
  app->add_option("--heartbeat-interval", o->heartbeat_interval_ms,
                  "Milliseconds between a leader's heartbeats")
      ->check(CLI::Range(1, 60'000))
      ->capture_default_str();
  app->add_option("--election-timeout", o->election_timeout_ms,
                  "Milliseconds without a leader before an election; at least 5 heartbeats")
      ->check(CLI::Range(5, 600'000))
      ->capture_default_str();
  app->add_option("--max-request-bytes", o->max_request_bytes, "Largest request taken, in bytes")
      ->check(CLI::Range(uint64_t{1024}, uint64_t{16} << 20))
      ->capture_default_str();
  app->add_option("--max-txn-ops", o->max_txn_ops, "Most operations in one transaction")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app->add_option("--max-inflight-requests", o->max_inflight_requests,
                  "Requests being served at once; more are refused as 'too many requests'")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app->add_option("--block-cache-bytes", o->block_cache_bytes,
                  "Memory for cached blocks, indexes and filters of the database")
      ->check(CLI::Range(uint64_t{1} << 20, uint64_t{1} << 44))
      ->capture_default_str();
  app->add_option("--memtable-bytes", o->memtable_bytes,
                  "Memory for applied state not yet flushed; also bounds the replay after a crash")
      ->check(CLI::Range(uint64_t{1} << 16, uint64_t{1} << 34))
      ->capture_default_str();
  app->add_option("--wal-bytes-max", o->wal_bytes_max,
                  "Write-ahead log files kept at most; a start reads all of them")
      ->check(CLI::Range(uint64_t{1} << 20, uint64_t{1} << 40))
      ->capture_default_str();
  app->add_option("--session-ttl", o->session_ttl_ms,
                  "Ask the cluster to remember idle client sessions for so many milliseconds; the "
                  "leader's flag decides (default: as the cluster does, at first 3600000)")
      ->check(CLI::Range(uint64_t{1000}, uint64_t{1} << 40));
  app->add_option("--max-sessions", o->max_sessions,
                  "Ask the cluster to remember so many client sessions at once; the leader's flag "
                  "decides (default: as the cluster does, at first 100000)")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 32));
  app->add_option("--client-threads", o->client_threads,
                  "Threads that take client requests off the network; 1: the event loop alone")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--log-level", o->log_level, "trace, debug, info, warn or error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
      ->capture_default_str();
  app->add_option("--log-format", o->log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

// How much log, replay and disk a node may take.
void DefineUpkeepFlags(CLI::App* app, ServerOptions* o) {
  const auto any = CLI::Range(uint64_t{0}, uint64_t{1} << 50);
  app->add_option("--snapshot-catchup-entries", o->snapshot_catchup_entries,
                  "Entries kept in the log behind the durable applied state, for late followers")
      ->check(any)
      ->capture_default_str();
  app->add_option("--snapshot-catchup-bytes", o->snapshot_catchup_bytes,
                  "Keep fewer of those entries where they hold more bytes than this")
      ->check(any)
      ->capture_default_str();
  app->add_option("--replay-entries-max", o->replay_entries_max,
                  "Flush the applied state when a restart would replay more entries")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 50))
      ->capture_default_str();
  app->add_option("--replay-bytes-max", o->replay_bytes_max,
                  "Flush the applied state when a restart would replay more bytes")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 50))
      ->capture_default_str();
  app->add_option("--replay-ms-max", o->replay_ms_max,
                  "Flush the applied state when a restart would replay what took longer to apply")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40))
      ->capture_default_str();
  app->add_option("--snapshot-rate-bytes", o->snapshot_rate_bytes,
                  "Bytes a second at which a snapshot is sent to a member, at least 1 MiB; 0: no "
                  "limit")
      ->check(CLI::Range(uint64_t{0}, uint64_t{0}) |
              CLI::Range(uint64_t{1} << 20, uint64_t{1} << 50))
      ->capture_default_str();
  app->add_option(
         "--free-space-reserve-bytes", o->free_space_reserve_bytes,
         "Raise the NOSPACE alarm, which refuses puts, below this much free disk; 0: never")
      ->check(any)
      ->capture_default_str();
  app->add_option("--corrupt-check-time-s", o->corrupt_check_time_s,
                  "Seconds between comparisons of the members' data; 0: never")
      ->check(any)
      ->capture_default_str();
  app->add_option("--defrag-rate-bytes", o->defrag_rate_bytes,
                  "Bytes a second that defragmentation rewrites; 0: no limit")
      ->check(any)
      ->capture_default_str();
  app->add_option("--max-learners", o->max_learners, "Most members that do not vote (yet) at once")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
}

Status ResolveCluster(const RawOptions& raw, ServerOptions* o) {
  const std::string cluster = raw.initial_cluster.empty()
                                  ? o->name + "=" + o->initial_advertise_peer_urls[0].ToString()
                                  : raw.initial_cluster;
  std::set<std::string> names;
  std::set<NodeId> ids;
  std::map<std::string, std::string> names_by_url;
  for (const std::string& part : SplitCommas(cluster)) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      return {Code::kInvalidArgument,
              "--initial-cluster: '" + part + "' is not name=http://host:port"};
    }
    MemberOptions member;
    member.name = part.substr(0, equals);
    StatusOr<Url> url = ParseUrl(part.substr(equals + 1));
    if (!url.ok()) {
      return {Code::kInvalidArgument, "--initial-cluster: " + url.status().message()};
    }
    member.peer_url = *url;
    member.id = DeriveNodeId(o->initial_cluster_token, member.name);
    if (!names.insert(member.name).second) {
      return {Code::kInvalidArgument, "--initial-cluster names '" + member.name + "' twice"};
    }
    const auto [other, is_own] = names_by_url.emplace(url->ToString(), member.name);
    if (!is_own) {
      return {Code::kInvalidArgument, "--initial-cluster gives '" + other->second + "' and '" +
                                          member.name + "' the same URL, " + other->first +
                                          "; every member needs its own"};
    }
    if (!ids.insert(member.id).second) {
      return {Code::kInvalidArgument, "--initial-cluster: the id of '" + member.name +
                                          "' collides with another's; choose another name"};
    }
    o->initial_cluster.push_back(std::move(member));
  }
  if (!names.contains(o->name)) {
    return {Code::kInvalidArgument, "--initial-cluster does not name this node ('" + o->name +
                                        "'); add " + o->name + "=<its peer URL> or set --name"};
  }
  o->join_existing = raw.initial_cluster_state == "existing";
  o->id = DeriveNodeId(o->initial_cluster_token, o->name);
  o->cluster_id = DeriveClusterId(o->initial_cluster_token, o->initial_cluster);
  return Status::Ok();
}

Status Resolve(const RawOptions& raw, ServerOptions* o) {
  if (o->name.empty()) return {Code::kInvalidArgument, "--name must not be empty"};
  // Names are protobuf's strings in the log and in messages: one that is not would be refused by
  // whoever reads it, every replica among them.
  if (!IsUtf8(o->name)) return {Code::kInvalidArgument, "--name must be valid UTF-8"};
  if (!IsUtf8(raw.initial_cluster)) {
    return {Code::kInvalidArgument, "--initial-cluster must be valid UTF-8"};
  }
  if (o->data_dir.empty()) o->data_dir = o->name + ".raftkv";
  auto or_default = [](const std::string& text, const std::string& fallback) {
    return text.empty() ? fallback : text;
  };
  RAFTKV_RETURN_IF_ERROR(
      ParseUrls("listen-client-urls", raw.listen_client_urls, &o->listen_client_urls));
  RAFTKV_RETURN_IF_ERROR(ParseUrls("advertise-client-urls",
                                   or_default(raw.advertise_client_urls, raw.listen_client_urls),
                                   &o->advertise_client_urls));
  RAFTKV_RETURN_IF_ERROR(ParseUrls("listen-peer-urls", raw.listen_peer_urls, &o->listen_peer_urls));
  RAFTKV_RETURN_IF_ERROR(
      ParseUrls("initial-advertise-peer-urls",
                or_default(raw.initial_advertise_peer_urls, raw.listen_peer_urls),
                &o->initial_advertise_peer_urls));
  RAFTKV_RETURN_IF_ERROR(ParseUrls("listen-http-urls", raw.listen_http_urls, &o->listen_http_urls));
  RAFTKV_RETURN_IF_ERROR(ParseUrls("advertise-http-urls",
                                   or_default(raw.advertise_http_urls, raw.listen_http_urls),
                                   &o->advertise_http_urls));
  if (o->election_timeout_ms < 5 * o->heartbeat_interval_ms) {
    return {Code::kInvalidArgument, "--election-timeout (" +
                                        std::to_string(o->election_timeout_ms) +
                                        " ms) must be at least 5 times --heartbeat-interval (" +
                                        std::to_string(o->heartbeat_interval_ms) + " ms)"};
  }
  return ResolveCluster(raw, o);
}

}  // namespace

ClusterId DeriveClusterId(const std::string& token, const std::vector<MemberOptions>& members) {
  std::set<std::string> names;
  for (const MemberOptions& member : members) names.insert(member.name);
  return raftkv::DeriveClusterId(token, names);
}

StatusOr<ParsedOptions> ParseOptions(int argc, const char* const* argv) {
  ParsedOptions parsed;
  RawOptions raw;
  CLI::App app{"raftkvd: one node of a raftkv cluster", "raftkvd"};
  DefineFlags(&app, &parsed.options, &raw);
  DefineUpkeepFlags(&app, &parsed.options);
  app.set_version_flag("--version", "raftkvd " + Version());
  app.set_config("--config-file", "", "Read flags from this TOML file; the command line wins");
  app.config_formatter(std::make_shared<ConfigFile>());
  // A misspelt key must not be ignored: the operator believes it is in force.
  app.allow_config_extras(CLI::config_extras_mode::error);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    parsed.exit_now = true;
    parsed.output = dynamic_cast<const CLI::CallForVersion*>(&success)
                        ? std::string(success.what()) + "\n"
                        : app.help();
    return parsed;
  } catch (const CLI::ConfigError& error) {
    return Status(Code::kInvalidArgument,
                  app["--config-file"]->as<std::string>() + ": " + error.what() +
                      "; see raftkvd --help for the config keys, which are the flags' names");
  } catch (const CLI::ParseError& error) {
    return Status(Code::kInvalidArgument,
                  std::string(error.what()) + "; see raftkvd --help for the flags and config keys");
  }
  RAFTKV_RETURN_IF_ERROR(Resolve(raw, &parsed.options));
  return parsed;
}

std::string Version() { return RAFTKV_VERSION; }

}  // namespace raftkv::server
