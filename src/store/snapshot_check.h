// Checks a snapshot's chunks as they come: what the sink and the reader of a file share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "store/sha256.h"
#include "store/snapshot_format.h"

namespace raftkv::store {

// Not thread-safe.
class SnapshotCheck {
 public:
  explicit SnapshotCheck(std::optional<uint64_t> id) : id_(id) {}

  // Gets each record of a chunk once all of the chunk was found good.
  using Visitor = std::function<Status(std::string_view key, std::string_view record)>;

  // Errors as of SnapshotSink::Add, besides what `visit` returned. Only after an error of `visit`
  // it must not be used any more.
  Status Add(std::string_view chunk, const Visitor& visit);
  // All of it has come. kCorruption when not.
  Status Finish() const;

  uint64_t next_chunk() const { return next_chunk_; }
  bool has_trailer() const { return trailer_.has_value(); }
  const SnapshotHeader& header() const { return header_; }
  uint64_t records() const { return records_; }
  uint64_t keys() const { return keys_; }  // live ones, of those that came

 private:
  Status CheckRecords(std::string_view body);
  Status CheckOne(std::string_view key, std::string_view record);
  Status VisitRecords(std::string_view body, const Visitor& visit);
  void CountKey(std::string_view key, std::string_view record);

  std::optional<uint64_t> id_;
  uint64_t next_chunk_ = 0;
  SnapshotHeader header_;
  std::optional<SnapshotTrailer> trailer_;
  Sha256 digest_;
  uint64_t records_ = 0;
  uint64_t keys_ = 0;
  std::string last_key_;
  std::string last_prefix_;  // of the last data key
  bool has_applied_ = false;
};

}  // namespace raftkv::store
