// What a node tells Prometheus. Names are listed in docs/operations.md.
#pragma once

#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "server/maintenance.h"
#include "server/raft_loop.h"
#include "server/reader_pool.h"
#include "server/replica_check.h"
#include "server/snapshot_receiver.h"
#include "server/snapshot_sender.h"
#include "store/apply_loop.h"
#include "store/engine.h"
#include "store/kv_store.h"
#include "wal/log_writer.h"

namespace raftkv::server {

// Thread-safe. Histograms are fed as things happen; everything else is read when asked for.
class Metrics {
 public:
  Metrics();

  void ObserveSync(uint64_t microseconds);
  void ObserveApply(uint64_t microseconds);
  void ObserveUpkeep(UpkeepTask task, double seconds);

  // Entries replayed at this start, and how long until they were applied.
  void SetReplay(uint64_t entries, double seconds);

  // Where the values come from; all must outlive the last call of Text.
  struct Sources {
    store::Engine* engine = nullptr;
    store::KvStore* store = nullptr;
    store::ApplyLoop* apply_loop = nullptr;
    wal::LogWriter* log_writer = nullptr;
    RaftLoop* raft_loop = nullptr;
    ReaderPool* readers = nullptr;
    Maintenance* maintenance = nullptr;
    ReplicaCheck* replica_check = nullptr;
    SnapshotSender* snapshot_sender = nullptr;
    SnapshotReceiver* snapshot_receiver = nullptr;
  };

  // The Prometheus text format, as of now.
  std::string Text(const Sources& sources);

 private:
  void CollectRaft(const RaftStatus& status);
  void CollectStorage(const Sources& sources);
  void CollectMaintenance(const Sources& sources);
  void CollectTransfers(const TransferStats& sent, const TransferStats& received);
  void CollectProcess();
  void SetGauge(const std::string& name, const std::string& help, double value,
                const prometheus::Labels& labels = {});
  // A counter kept elsewhere: moved up to `total`.
  void SetCounter(const std::string& name, const std::string& help, double total,
                  const prometheus::Labels& labels = {});

  std::mutex mutex_;  // one scrape at a time
  prometheus::Registry registry_;
  prometheus::Histogram* sync_seconds_;
  prometheus::Histogram* apply_seconds_;
  std::map<UpkeepTask, prometheus::Histogram*> upkeep_seconds_;
};

}  // namespace raftkv::server
