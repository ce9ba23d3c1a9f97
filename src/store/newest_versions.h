// What the apply thread remembers of keys that were written last, so that the next write of one
// does not search RocksDB for the version it replaces, nor a get for the one it asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "store/overlay.h"

namespace raftkv::store {

// The newest versions, without their values, of as many keys as have room. Owned by the apply
// thread, which writes every version there is, so that what it holds is never stale: each batch
// stores what it wrote, before it is written, and another column family starts with an empty one.
// Only saves work. Other threads may look into it, with FindRevision.
//
// A fixed table of sets of two; of a set, the version that was written first makes way. Keys that
// are too long for a slot are not remembered.
class NewestVersions {
 public:
  static constexpr size_t kKeyBytesMax = 86;

  // Takes no more memory than `bytes`, and that only as it fills.
  explicit NewestVersions(size_t bytes);

  // Sets all of `version` but its value, which may be a tombstone's. The key is the one passed in.
  bool Find(std::string_view key, KeyVersion* version) const;
  // Any thread: the revision of what was stored last for `key`, which may be ahead of what is
  // published. False also if it is being stored right now.
  bool FindRevision(std::string_view key, Revision* mod, bool* tombstone) const;
  // `version` is the newest of its key.
  void Store(const KeyVersion& version);

 private:
  struct alignas(uint64_t) Slot {
    uint32_t changes;  // odd while it is being changed
    uint32_t sub;
    int64_t mod;  // 0: the slot is free
    int64_t create_revision;
    int64_t version;
    int64_t lease;
    bool tombstone;
    uint8_t key_size;
    char key[kKeyBytesMax];

    bool Holds(std::string_view of) const {
      return mod != 0 && std::string_view(key, key_size) == of;
    }
  };
  static_assert(sizeof(Slot) == 128, "two cache lines");
  static constexpr size_t kSlotWords = sizeof(Slot) / sizeof(uint64_t);
  static constexpr size_t kWays = 2;

  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };

  // A seqlock of the owner's writes and others' reads.
  static void Write(Slot* slot, const Slot& value);
  static bool Read(const Slot& slot, Slot* value);

  Slot* SetOf(std::string_view key) const;

  size_t sets_;  // a power of two, or 0
  std::unique_ptr<Slot[], Free> slots_;
};

}  // namespace raftkv::store
