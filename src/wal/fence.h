// What a node has promised, remembered outside RocksDB, so that a database that lost its end (a
// damaged or cut WAL, an older copy that was put back) does not make the node break its word.
//
// The Raft log remembers by itself what the node voted and acknowledged, for as long as the disk
// keeps what was synced. This file is a second witness. It costs next to nothing because it is
// seldom synced: for each new term and vote, and whenever the log outgrows the room that the last
// record made for it. How far the log is for sure is part of each record, and noted after every
// sync of the WAL, unsynced: a process that is killed loses nothing of it, a power failure perhaps
// the last seconds.
//
// docs/on-disk-format.md has the bytes, docs/durability.md what it protects from and what not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <rocksdb/env.h>

#include "common/status.h"
#include "common/types.h"
#include "raft/acknowledged.h"

namespace raftkv::wal {

// What the file says.
struct FenceRecord {
  uint64_t run = 0;  // which start of the node wrote it (raft::Options::run)
  Term term;
  NodeId vote;
  raft::AckBounds acknowledged;

  bool operator==(const FenceRecord&) const = default;
};

// Its name in the data directory.
inline constexpr char kFenceFile[] = "fence";

// The log may grow by so many entries before the record is synced again.
inline constexpr uint64_t kFenceReserve = 1 << 16;

// Not thread-safe: the starting thread's, then the log writer's.
class Fence {
 public:
  // Makes the file when there is none (a new node, or one from before there were fences), and
  // durably begins a new run, whose number is higher than any before it; `now_us`, microseconds
  // since the epoch, makes that so even if an older copy was put back. `on_disk` is where the log
  // ends, all of it on disk (store::Engine::Open has seen to it): the new record says so, unless
  // more than that was acknowledged. kCorruption when no record is intact, kFailedPrecondition when
  // it is another node's or of a newer format; either says what to do. `env`: as in
  // store::EngineOptions.
  static StatusOr<std::unique_ptr<Fence>> Open(const std::string& path, ClusterId cluster,
                                               NodeId node, uint64_t now_us,
                                               LogPosition on_disk = {},
                                               rocksdb::Env* env = nullptr);
  // What Open would find, without beginning a run or changing a byte; nothing when there is no
  // file. Errors as Open's.
  static StatusOr<std::optional<FenceRecord>> Read(const std::string& path, ClusterId cluster,
                                                   NodeId node, rocksdb::Env* env = nullptr);
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  // As of the run before; the bounds are none when nothing is known.
  const FenceRecord& found() const { return found_; }
  uint64_t run() const { return record_.run; }

  // Before a write that makes the node's term and vote these and its log end in `last`, and before
  // anything is said that counts on it: makes the record cover that. `owed`: raft::AppendTask.
  // Syncs only if it has to. After an error the process must end, as after one of the log's.
  Status Cover(Term term, NodeId vote, LogPosition last, const raft::AckBounds& owed);
  // The log up to `last` is on disk.
  Status Note(LogPosition last);

  uint64_t syncs() const { return syncs_; }

 private:
  Fence(std::string path, std::unique_ptr<rocksdb::RandomRWFile> file, ClusterId cluster,
        NodeId node);
  Status Load();
  Status Take(std::string bytes);
  Status WriteAt(uint64_t offset, const std::string& bytes);
  Status WriteRecord(const FenceRecord& record);
  std::string Encode(const FenceRecord& record) const;

  const std::string path_;
  const std::unique_ptr<rocksdb::RandomRWFile> file_;
  const ClusterId cluster_;
  const NodeId node_;
  FenceRecord found_;
  FenceRecord record_;     // as synced last
  uint64_t sequence_ = 0;  // of that; its parity says in which slot
  LogPosition noted_;      // on disk for sure; none until it was noted in this run
  uint64_t syncs_ = 0;
};

}  // namespace raftkv::wal
