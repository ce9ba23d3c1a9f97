// raftkvd: one node.

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include <absl/synchronization/mutex.h>
#include <spdlog/spdlog.h>

#include "server/app.h"
#include "server/logging.h"
#include "server/options.h"

namespace {

// Stops are asked for by signal; blocked before any thread starts, so that only this one, in
// sigwait, gets them.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A peer that closes its end must not end this process.
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace raftkv;
  StatusOr<server::ParsedOptions> parsed = server::ParseOptions(argc, argv);
  if (!parsed.ok()) {
    std::fprintf(stderr, "raftkvd: %s\n", parsed.status().message().c_str());
    return 2;
  }
  if (parsed->exit_now) {
    std::fputs(parsed->output.c_str(), stdout);
    return parsed->exit_code;
  }
  // Debian builds Abseil with its debugging on: each lock that gRPC takes would be looked up in a
  // graph of all locks, which costs 4% of the CPU of a put.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const sigset_t signals = BlockStopSignals();
  const server::ServerOptions& options = parsed->options;
  server::SetUpLogging(options.log_level, options.log_format);
  spdlog::info("starting raftkvd version={} name={} node={:x} cluster={:x} dir={}",
               server::Version(), options.name, options.id.value(), options.cluster_id.value(),
               options.data_dir);

  // A node that can't go on ends as if it had been asked to, but with another exit code.
  server::App app(options, [] { kill(getpid(), SIGTERM); });
  if (const Status status = app.Start(); !status.ok()) {
    spdlog::error("can't start: {}", status.message());
    (void)app.Stop();
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping signal={}", signal);
  if (const Status status = app.Stop(); !status.ok()) {
    spdlog::error("stopped, but not all state was flushed: {}", status.message());
    return 1;
  }
  spdlog::info("stopped");
  return app.end_reason().empty() ? 0 : 1;
}
