#include "store/newest_versions.h"

#include <algorithm>
#include <atomic>
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

// No fences, which ThreadSanitizer does not know: a reader that gets anything new out of the slot
// has acquired what came before, and so sees that `changes` moved.
void NewestVersions::Write(Slot* slot, const Slot& value) {
  const uint32_t before = slot->changes;
  const std::atomic_ref<uint32_t> changes(slot->changes);
  changes.store(before + 1, std::memory_order_relaxed);
  std::atomic_ref<uint32_t>(slot->sub).store(value.sub, std::memory_order_release);
  auto* const to = reinterpret_cast<uint64_t*>(slot);
  uint64_t words[kSlotWords];
  std::memcpy(words, &value, sizeof(Slot));
  for (size_t i = 1; i < kSlotWords; ++i) {
    std::atomic_ref<uint64_t>(to[i]).store(words[i], std::memory_order_release);
  }
  changes.store(before + 2, std::memory_order_release);
}

bool NewestVersions::Read(const Slot& slot, Slot* value) {
  // atomic_ref takes no const before C++26; nothing is written.
  auto* const from = const_cast<Slot*>(&slot);
  const std::atomic_ref<uint32_t> changes(from->changes);
  const uint32_t before = changes.load(std::memory_order_acquire);
  if (before % 2 != 0) return false;
  uint64_t words[kSlotWords];
  auto* const at = reinterpret_cast<uint64_t*>(from);
  for (size_t i = 1; i < kSlotWords; ++i) {
    words[i] = std::atomic_ref<uint64_t>(at[i]).load(std::memory_order_acquire);
  }
  const uint32_t sub = std::atomic_ref<uint32_t>(from->sub).load(std::memory_order_acquire);
  if (changes.load(std::memory_order_relaxed) != before) return false;
  words[0] = 0;
  std::memcpy(value, words, sizeof(Slot));
  value->sub = sub;
  return true;
}

bool NewestVersions::FindRevision(std::string_view key, Revision* mod, bool* tombstone) const {
  const Slot* set = SetOf(key);
  if (set == nullptr) return false;
  for (size_t i = 0; i < kWays; ++i) {
    Slot slot;
    if (!Read(set[i], &slot) || !slot.Holds(key)) continue;
    *mod = {slot.mod, slot.sub};
    *tombstone = slot.tombstone;
    return true;
  }
  return false;
}

void NewestVersions::Store(const KeyVersion& version) {
  Slot* set = SetOf(version.key);
  if (set == nullptr) return;
  Slot* slot =
      std::find_if(set, set + kWays, [&version](const Slot& s) { return s.Holds(version.key); });
  if (slot == set + kWays) {
    slot = std::min_element(set, set + kWays,
                            [](const Slot& a, const Slot& b) { return a.mod < b.mod; });
  }
  Slot value{};
  value.sub = version.mod.sub;
  value.mod = version.mod.main;
  value.create_revision = version.create_revision;
  value.version = version.version;
  value.lease = version.lease;
  value.tombstone = version.tombstone;
  value.key_size = static_cast<uint8_t>(version.key.size());
  std::memcpy(value.key, version.key.data(), version.key.size());
  Write(slot, value);
}

}  // namespace raftkv::store
