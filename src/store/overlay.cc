#include "store/overlay.h"

namespace raftkv::store {

const KeyVersion* Overlay::Versions::At(int64_t at) const {
  if (newest.mod.main <= at) return &newest;
  for (auto it = older.rbegin(); it != older.rend(); ++it) {
    if (it->mod.main <= at) return &*it;
  }
  return nullptr;
}

void Overlay::Add(const KeyVersion& version) {
  auto [it, added] = versions_.try_emplace(version.key);
  if (!added) it->second.older.push_back(it->second.newest);
  it->second.newest = version;
  bytes_ += kVersionBytes + kVersionKeys * version.key.size() + version.value.size();
}

std::string_view Overlay::Keep(std::string_view bytes) { return kept_.emplace_back(bytes); }

const Overlay::Versions* Overlay::Find(std::string_view key) const {
  auto it = versions_.find(key);
  return it == versions_.end() ? nullptr : &it->second;
}

}  // namespace raftkv::store
