// The versions written by the batch that is being applied: RocksDB does not show them yet, and
// later entries of the batch, and later operations of a transaction, must see them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

#include "store/mvcc.h"

namespace raftkv::store {

// One version of a key as read: views point to whatever holds the version and say there how long.
struct KeyVersion {
  std::string_view key;
  Revision mod;
  bool tombstone = false;
  int64_t create_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
  std::string_view value;
};

// What a version takes until its batch is written, beside its value: a node of the map, two records
// in RocksDB's batch, two in its memtable; its key is in all of these. Measured with a million
// deletes: 350 bytes with keys of 10, 550 with 100, 4,800 with 1,000.
inline constexpr size_t kVersionBytes = 350;
inline constexpr size_t kVersionKeys = 5;

// Owned by the apply thread.
class Overlay {
 public:
  // All versions of one key in this batch; most have one.
  struct Versions {
    KeyVersion newest;
    std::vector<KeyVersion> older;  // oldest first

    // The newest at or below revision `at`, or null. A tombstone is an answer.
    const KeyVersion* At(int64_t at) const;
  };
  using Map = std::pmr::map<std::string_view, Versions>;

  Overlay() : versions_(&memory_) {}

  // `version` must be newer than what is there; its key and value must live as long as the overlay.
  void Add(const KeyVersion& version);

  // A copy of `bytes` that lives as long as the overlay.
  std::string_view Keep(std::string_view bytes);

  const Versions* Find(std::string_view key) const;
  const Map& versions() const { return versions_; }
  // About what it takes, and what comes of it once it is written: see kVersionBytes.
  size_t bytes() const { return bytes_; }

 private:
  std::pmr::monotonic_buffer_resource memory_;  // of the map's nodes; all go together
  Map versions_;
  std::deque<std::string> kept_;
  size_t bytes_ = 0;
};

}  // namespace raftkv::store
