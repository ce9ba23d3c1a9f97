// Reads raft_log and raft_meta record by record, so that one damaged record does not hide the rest.
// (wal::LogStore::Recover, which a node starts with, stops at the first.)
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <rocksdb/iterator.h>

#include "common/membership.h"
#include "common/status.h"
#include "common/types.h"
#include "store/engine.h"
#include "wal/entry_codec.h"

namespace raftkv::tools::dump {

// The records of raft_meta, each with why it could not be read.
struct LogMeta {
  StatusOr<HardState> hard_state = Status(Code::kNotFound, "no hard state");
  StatusOr<Membership> membership = Status(Code::kNotFound, "no membership");
  StatusOr<LogPosition> before_first = Status(Code::kNotFound, "no log start");
};
LogMeta ReadLogMeta(store::Engine* engine);

// Where the log begins and ends by its keys; first > last when it is empty.
struct LogBounds {
  Index first;
  Index last;
};
StatusOr<LogBounds> ReadLogBounds(store::Engine* engine, const LogMeta& meta);

// What is under one index, or a run of indexes that have nothing.
struct LogRecord {
  Index index;
  Index missing_to = {};      // set: there is no entry from `index` up to and including this
  std::string_view raw = {};  // the record
  uint64_t bytes = 0;         // of it
  StatusOr<wal::EntryView> entry = Status(Code::kNotFound, "missing");
};

// Calls `each` for every entry from `from` to `to` and for every gap, in order; the entry points
// into memory that is gone after the call. The result is what RocksDB said in the end.
Status ForEachRecord(store::Engine* engine, Index from, Index to,
                     const std::function<void(const LogRecord&)>& each);
// The same until `each` returns false.
Status ForEachRecordWhile(store::Engine* engine, Index from, Index to,
                          const std::function<bool(const LogRecord&)>& each);

}  // namespace raftkv::tools::dump
