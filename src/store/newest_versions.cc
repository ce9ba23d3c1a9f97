#include "store/newest_versions.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "common/check.h"

namespace raftkv::store {

// calloc, because it takes zeroed pages from the system without touching them.
NewestVersions::NewestVersions(size_t bytes)
    : sets_(std::bit_floor(bytes / (kWays * sizeof(Slot)))),
      slots_(static_cast<Slot*>(std::calloc(std::max<size_t>(sets_ * kWays, 1), sizeof(Slot)))) {
  RAFTKV_CHECK(slots_ != nullptr, "no memory for the newest versions");
}

NewestVersions::Slot* NewestVersions::SetOf(std::string_view key) const {
  if (sets_ == 0 || key.size() > kKeyBytesMax) return nullptr;
  return &slots_[(std::hash<std::string_view>()(key) & (sets_ - 1)) * kWays];
}

bool NewestVersions::Find(std::string_view key, KeyVersion* version) const {
  const Slot* set = SetOf(key);
  if (set == nullptr) return false;
  const Slot* slot = std::find_if(set, set + kWays, [key](const Slot& s) { return s.Holds(key); });
  if (slot == set + kWays) return false;
  version->key = key;
  version->mod = {slot->mod, slot->sub};
  version->tombstone = slot->tombstone;
  version->create_revision = slot->create_revision;
  version->version = slot->version;
  version->lease = slot->lease;
  return true;
}

void NewestVersions::Store(const KeyVersion& version) {
  Slot* set = SetOf(version.key);
  if (set == nullptr) return;
  Slot* slot =
      std::find_if(set, set + kWays, [&version](const Slot& s) { return s.Holds(version.key); });
  if (slot == set + kWays) {
    slot = std::min_element(set, set + kWays,
                            [](const Slot& a, const Slot& b) { return a.mod < b.mod; });
    slot->key_size = static_cast<uint8_t>(version.key.size());
    std::memcpy(slot->key, version.key.data(), version.key.size());
  }
  slot->mod = version.mod.main;
  slot->sub = version.mod.sub;
  slot->tombstone = version.tombstone;
  slot->create_revision = version.create_revision;
  slot->version = version.version;
  slot->lease = version.lease;
}

}  // namespace raftkv::store
