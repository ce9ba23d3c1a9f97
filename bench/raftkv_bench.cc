// raftkv-bench: load on any etcd v3 endpoint, so that raftkv and etcd are measured by the same
// client.

#include <absl/synchronization/mutex.h>

#include "bench/options.h"
#include "bench/runner.h"

int main(int argc, char** argv) {
  // As in raftkvd (src/server/main.cc).
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  raftkv::bench::BenchOptions options;
  int exit_code = 0;
  if (!raftkv::bench::ParseBenchOptions(argc, argv, &options, &exit_code)) return exit_code;
  raftkv::bench::Runner runner(options);
  runner.Run();
  return runner.Report() ? 0 : 1;
}
