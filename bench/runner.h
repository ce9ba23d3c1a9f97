// One run: the clients, and what they were answered.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bench/client.h"
#include "bench/cpu_meter.h"
#include "bench/options.h"
#include "bench/output.h"
#include "bench/result.h"
#include "bench/schedule.h"

namespace raftkv::bench {

// One thread drives all clients over one completion queue: the load generator shares the machine
// with what it measures and must stay light.
class Runner {
 public:
  explicit Runner(const BenchOptions& options);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Prints as it goes and at the end.
  void Run();

  // Whether everything was answered well, or at least (of a load) at last.
  bool Report() const;

 private:
  using NextStatus = grpc::CompletionQueue::NextStatus;

  void MakeStubs();
  Client* AddClient();
  void Begin();
  void Loop();
  void StartDue();
  void Send(Client* client, Clock::time_point start);
  void Take(Client* client, Clock::time_point now);
  void NoteTime(Clock::time_point now);
  bool Finished(Clock::time_point now) const;
  bool Counts(Clock::time_point start) const { return start >= count_from_; }
  // Waits for an answer, until there is something else to do.
  NextStatus Next(void** tag, bool* ok);

  const BenchOptions options_;
  const Output output_;
  Sources sources_;
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Client*> idle_;         // of an open loop
  std::optional<Schedule> schedule_;  // of an open loop
  Clock::time_point count_from_;
  Clock::time_point end_;
  Clock::time_point interval_end_;
  Clock::time_point last_sent_;
  uint64_t sent_ = 0;
  size_t open_ = 0;  // requests that wait for their answer
  CpuMeter cpu_;
  bool cpu_begun_ = false;
  Result total_;
  Result interval_;
};

}  // namespace raftkv::bench
