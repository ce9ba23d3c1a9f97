#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <fstream>
#include <map>
#include <utility>

namespace raftkv::server {
namespace {

// From 50 us (a fast disk's fsync) up by doubling to 1.6 s.
prometheus::Histogram::BucketBoundaries LatencyBuckets() {
  prometheus::Histogram::BucketBoundaries buckets;
  for (double bound = 50e-6; bound < 2; bound *= 2) buckets.push_back(bound);
  return buckets;
}

prometheus::Histogram* AddHistogram(prometheus::Registry* registry, const std::string& name,
                                    const std::string& help,
                                    const prometheus::Labels& labels = {}) {
  return &prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add(
      labels, LatencyBuckets());
}

const char* TaskName(UpkeepTask task) {
  switch (task) {
    case UpkeepTask::kFlush:
      return "flush";
    case UpkeepTask::kFlushLog:
      return "flush_log";
    case UpkeepTask::kCut:
      return "cut";
    case UpkeepTask::kSpace:
      return "space";
  }
  return "";
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// (by flushes, by compactions). RocksDB counts by level, in GiB; level 0 is what flushes write, and
// what is merged within it.
std::pair<double, double> TableBytesWritten(store::Engine* engine,
                                            rocksdb::ColumnFamilyHandle* family) {
  std::map<std::string, std::string> stats;
  if (!engine->db()->GetMapProperty(family, rocksdb::DB::Properties::kCFStats, &stats)) return {};
  const auto bytes = [&stats](const std::string& name) {
    const auto found = stats.find(name);
    constexpr double kGiB = 1024.0 * 1024 * 1024;
    return found == stats.end() ? 0 : std::strtod(found->second.c_str(), nullptr) * kGiB;
  };
  const double flushed = bytes("compaction.L0.WriteGB");
  return {flushed, std::max(bytes("compaction.Sum.WriteGB") - flushed, 0.0)};
}

}  // namespace

Metrics::Metrics()
    : sync_seconds_(AddHistogram(&registry_, "raftkv_log_sync_duration_seconds",
                                 "Time of one batch write and fsync of the Raft log")),
      apply_seconds_(AddHistogram(&registry_, "raftkv_apply_duration_seconds",
                                  "Time to apply one batch of committed entries")) {
  for (const UpkeepTask task :
       {UpkeepTask::kFlush, UpkeepTask::kFlushLog, UpkeepTask::kCut, UpkeepTask::kSpace}) {
    upkeep_seconds_[task] =
        AddHistogram(&registry_, "raftkv_maintenance_duration_seconds",
                     "Time of one piece of upkeep; of a cut, how long the log writer was held up",
                     {{"task", TaskName(task)}});
  }
}

void Metrics::ObserveSync(uint64_t microseconds) {
  sync_seconds_->Observe(static_cast<double>(microseconds) * 1e-6);
}

void Metrics::ObserveApply(uint64_t microseconds) {
  apply_seconds_->Observe(static_cast<double>(microseconds) * 1e-6);
}

void Metrics::ObserveUpkeep(UpkeepTask task, double seconds) {
  upkeep_seconds_.at(task)->Observe(seconds);
}

void Metrics::SetReplay(uint64_t entries, double seconds) {
  SetGauge("raftkv_replayed_entries", "Log entries applied again at this start",
           static_cast<double>(entries));
  SetGauge("raftkv_replay_seconds", "Time from opening the store to having applied them", seconds);
}

void Metrics::SetGauge(const std::string& name, const std::string& help, double value,
                       const prometheus::Labels& labels) {
  prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels).Set(value);
}

void Metrics::SetCounter(const std::string& name, const std::string& help, double total,
                         const prometheus::Labels& labels) {
  auto& counter = prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(labels);
  counter.Increment(total - counter.Value());
}

void Metrics::CollectRaft(const RaftStatus& status) {
  SetGauge("raftkv_raft_is_leader", "1 while this node leads",
           status.role == raft::Role::kLeader ? 1 : 0);
  for (const auto role : {raft::Role::kFollower, raft::Role::kPreCandidate, raft::Role::kCandidate,
                          raft::Role::kLeader}) {
    SetGauge("raftkv_raft_role", "1 for the role this node has, 0 for the others",
             status.role == role ? 1 : 0, {{"role", std::string(raft::RoleName(role))}});
  }
  SetGauge("raftkv_raft_has_leader", "1 while a leader is known", status.leader.none() ? 0 : 1);
  SetGauge(
      "raftkv_raft_lost_acknowledged",
      "1 while the log lacks entries that this node acknowledged: it does not stand for election",
      status.lost_acknowledged ? 1 : 0);
  SetGauge("raftkv_raft_term", "Current term", static_cast<double>(status.term.value()));
  SetGauge("raftkv_raft_commit_index", "Highest index known to be committed",
           static_cast<double>(status.commit.value()));
  SetGauge("raftkv_raft_first_index", "First index in the log",
           static_cast<double>(status.first.value()));
  SetGauge("raftkv_raft_last_index", "Last index in the log",
           static_cast<double>(status.last.value()));
  SetGauge("raftkv_raft_durable_index", "Highest index known to be on this node's disk",
           static_cast<double>(status.durable.value()));
  SetCounter("raftkv_raft_leader_changes_total", "Times a leader became known",
             static_cast<double>(status.leader_changes));
  SetCounter("raftkv_raft_proposals_total", "Entries proposed by this node as leader",
             static_cast<double>(status.proposals));
  SetCounter("raftkv_raft_proposals_failed_total",
             "Client writes that ended without a result from apply",
             static_cast<double>(status.proposals_failed));
  SetGauge("raftkv_raft_proposals_pending", "Client writes that wait for their outcome",
           static_cast<double>(status.proposals_pending));
  SetCounter("raftkv_raft_forwarded_total", "Client writes sent on to the leader",
             static_cast<double>(status.forwarded));
  SetCounter("raftkv_raft_reads_total", "Linearizable reads confirmed",
             static_cast<double>(status.reads));
  SetCounter("raftkv_peer_batches_dropped_total", "Peer batches dropped because too many waited",
             static_cast<double>(status.peer_batches_dropped));
  for (const raft::PeerStatus& peer : status.peers) {
    SetGauge("raftkv_raft_peer_match_index", "Highest index a follower is known to hold",
             static_cast<double>(peer.match.value()), {{"peer", std::to_string(peer.id.value())}});
  }
}

void Metrics::CollectStorage(const Sources& sources) {
  const store::AppliedRecord applied = sources.store->applied();
  SetGauge("raftkv_applied_index", "Index of the last entry applied",
           static_cast<double>(applied.position.index.value()));
  SetGauge("raftkv_revision", "Current revision of the store",
           static_cast<double>(applied.revision));
  SetGauge("raftkv_compact_revision", "Reads below this revision are refused",
           static_cast<double>(applied.compact_revision));
  SetGauge("raftkv_sessions", "Client sessions remembered", static_cast<double>(applied.sessions));
  SetGauge("raftkv_sessions_max", "Client sessions remembered at most",
           static_cast<double>(applied.session_limits.sessions_max));
  SetGauge("raftkv_session_ttl_seconds", "How long an idle client session is remembered",
           static_cast<double>(applied.session_limits.ttl_ms) / 1000);
  const auto durable = sources.store->DurableApplied();
  SetGauge("raftkv_durable_applied_index", "Index up to which a crash now would need no replay",
           durable.ok() ? static_cast<double>(durable->position.index.value()) : 0);
  const wal::LogWriterStats log = sources.log_writer->stats();
  SetCounter("raftkv_log_syncs_total", "Syncs of the Raft log", static_cast<double>(log.syncs));
  SetCounter("raftkv_log_entries_total", "Entries written", static_cast<double>(log.entries));
  SetCounter("raftkv_log_bytes_total", "Bytes of entries written", static_cast<double>(log.bytes));
  const auto depth = [this](const std::string& queue, size_t n) {
    SetGauge("raftkv_queue_depth", "Items that wait in a queue", static_cast<double>(n),
             {{"queue", queue}});
  };
  depth("raft", sources.raft_loop->queue_depth());
  depth("log_writer", sources.log_writer->queue_depth());
  depth("apply", sources.apply_loop->queue_depth());
  depth("readers", sources.readers->queue_depth());
  store::Engine* engine = sources.engine;
  for (auto* family : {engine->raft_meta(), engine->raft_log(), engine->kv().get()}) {
    const auto size = [&](const std::string& what, const std::string& property) {
      SetGauge("raftkv_rocksdb_bytes", "RocksDB sizes by column family",
               static_cast<double>(engine->IntProperty(family, property)),
               {{"family", family->GetName()}, {"what", what}});
    };
    size("memtables", "rocksdb.cur-size-all-mem-tables");
    size("sst", "rocksdb.total-sst-files-size");
    size("live", "rocksdb.estimate-live-data-size");
    size("pending_compaction", "rocksdb.estimate-pending-compaction-bytes");
    size("table_readers", "rocksdb.estimate-table-readers-mem");
    const auto [flushed, compacted] = TableBytesWritten(engine, family);
    const std::string written = "raftkv_rocksdb_written_bytes_total";
    const std::string help = "Bytes of tables written to disk since the start, by cause";
    SetCounter(written, help, flushed, {{"family", family->GetName()}, {"cause", "flush"}});
    SetCounter(written, help, compacted, {{"family", family->GetName()}, {"cause", "compaction"}});
  }
  SetGauge(
      "raftkv_rocksdb_block_cache_bytes", "Block cache in use",
      static_cast<double>(engine->IntProperty(engine->kv().get(), "rocksdb.block-cache-usage")));
  SetGauge("raftkv_disk_bytes", "SST and WAL files on disk",
           static_cast<double>(engine->DiskBytes()));
}

void Metrics::CollectMaintenance(const Sources& sources) {
  const RaftStatus raft = sources.raft_loop->status();
  SetGauge("raftkv_log_entries", "Entries in the Raft log",
           static_cast<double>(raft.last.value() + 1 - raft.first.value()));
  SetCounter("raftkv_log_cuts_total", "Times the beginning of the log was cut off",
             static_cast<double>(raft.log_cuts));
  SetCounter("raftkv_snapshots_installed_total", "Snapshots that took the place of this state",
             static_cast<double>(raft.snapshots_installed));
  const MaintenanceStats stats = sources.maintenance->stats();
  SetCounter("raftkv_kv_flushes_total", "Planned flushes of the applied state",
             static_cast<double>(stats.flushes));
  SetCounter("raftkv_log_flushes_total", "Planned flushes of the log, which free the WAL",
             static_cast<double>(stats.log_flushes));
  SetCounter("raftkv_kv_flush_seconds_total", "Time maintenance spent in planned flushes",
             stats.flush_seconds);
  SetCounter("raftkv_replica_checks_total", "Comparisons of the members' data that were started",
             static_cast<double>(sources.replica_check->started()));
  SetGauge("raftkv_free_space_bytes", "Free space of the data directory's file system",
           static_cast<double>(stats.free_bytes));
  double alarms[3] = {0, 0, 0};
  for (const etcdserverpb::AlarmMember& alarm : sources.store->Alarms()) {
    if (alarm.alarm() >= 0 && alarm.alarm() < 3) ++alarms[alarm.alarm()];
  }
  for (const auto type : {etcdserverpb::NOSPACE, etcdserverpb::CORRUPT}) {
    SetGauge("raftkv_alarms", "Alarms that are raised", alarms[type],
             {{"alarm", etcdserverpb::AlarmType_Name(type)}});
  }
}

void Metrics::CollectTransfers(const TransferStats& sent, const TransferStats& received) {
  SetCounter("raftkv_snapshots_sent_total", "Snapshots delivered to other members",
             static_cast<double>(sent.completed));
  SetCounter("raftkv_snapshots_send_failed_total", "Snapshots that were not delivered",
             static_cast<double>(sent.failed));
  SetCounter("raftkv_snapshot_sent_bytes_total", "Bytes of snapshots sent",
             static_cast<double>(sent.bytes));
  SetCounter("raftkv_snapshot_send_seconds_total", "Time it took to deliver snapshots",
             sent.seconds);
  SetCounter("raftkv_snapshots_received_total", "Snapshots received whole and verified",
             static_cast<double>(received.completed));
  SetCounter("raftkv_snapshots_receive_failed_total", "Snapshots refused on the way",
             static_cast<double>(received.failed));
  SetCounter("raftkv_snapshot_received_bytes_total", "Bytes of snapshots received",
             static_cast<double>(received.bytes));
  SetCounter("raftkv_snapshot_receive_seconds_total", "Time it took to receive snapshots",
             received.seconds);
}

void Metrics::CollectProcess() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages_total = 0;
  uint64_t pages_resident = 0;
  statm >> pages_total >> pages_resident;
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  SetGauge("process_resident_memory_bytes", "Resident memory",
           static_cast<double>(pages_resident) * page);
  SetGauge("process_virtual_memory_bytes", "Virtual memory",
           static_cast<double>(pages_total) * page);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  SetCounter("process_cpu_seconds_total", "User and system CPU time",
             Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
}

std::string Metrics::Text(const Sources& sources) {
  std::lock_guard lock(mutex_);
  CollectRaft(sources.raft_loop->status());
  CollectStorage(sources);
  CollectMaintenance(sources);
  CollectTransfers(sources.snapshot_sender->stats(), sources.snapshot_receiver->stats());
  CollectProcess();
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace raftkv::server
