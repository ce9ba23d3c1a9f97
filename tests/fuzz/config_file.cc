// A node's config file (src/server/options.h).
#include "fuzz/fuzz.h"
#include "server/options.h"

namespace raftkv::fuzz {

FUZZ_TARGET(config_file) {
  const MemoryFile file(input);
  const std::string flag = "--config-file=" + file.path();
  const char* const argv[] = {"raftkvd", flag.c_str()};
  const StatusOr<server::ParsedOptions> parsed = server::ParseOptions(2, argv);
  if (parsed.ok() && !parsed->exit_now) {
    const server::ServerOptions& options = parsed->options;
    Require(options.election_timeout_ms >= 5 * options.heartbeat_interval_ms,
            "timeouts that --help forbids");
    Require(!options.initial_cluster.empty() && !options.listen_client_urls.empty() &&
                !options.data_dir.empty(),
            "options that a node can't start with");
  }
}

}  // namespace raftkv::fuzz
