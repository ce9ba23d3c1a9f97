#include "sim/disk.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace raftkv::sim {
namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kCachePageBytes = 4096;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdull;
}

uint64_t HashOf(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// Without slashes at the end, or two in a row: RocksDB is not strict about them.
std::string Clean(const std::string& path) {
  std::string clean;
  for (const char c : path) {
    if (c != '/' || clean.empty() || clean.back() != '/') clean.push_back(c);
  }
  if (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

bool IsBelow(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

bool ChangesTheDisk(DiskOp op) { return op != DiskOp::kRead; }

}  // namespace

SimDisk::SimDisk(uint64_t seed, uint32_t page_bytes) : page_bytes_(page_bytes), rng_(seed) {
  auto root = std::make_shared<Inode>();
  root->is_directory = true;
  names_["/"] = root;
  durable_names_ = names_;
}

DiskResult SimDisk::Begin(DiskOp op, const std::string& path, uint64_t offset, uint64_t bytes) {
  if (dead_) return DiskResult::kIoError;
  if (ChangesTheDisk(op)) {
    if (changes_left_ == 0) {
      dead_ = power_failed_ = true;
      return DiskResult::kIoError;
    }
    if (changes_left_ != UINT64_MAX) --changes_left_;
  }
  trace_.hash = Mix(trace_.hash, static_cast<uint64_t>(op));
  trace_.hash = Mix(trace_.hash, HashOf(path));
  trace_.hash = Mix(Mix(trace_.hash, offset), bytes);
  ++trace_.operations;
  return fault_hook_ ? fault_hook_(op, path) : DiskResult::kOk;
}

InodePtr SimDisk::Find(const std::string& path) const {
  const auto it = names_.find(Clean(path));
  return it == names_.end() ? nullptr : it->second;
}

DiskResult SimDisk::Create(const std::string& name, InodePtr* out) {
  const std::string path = Clean(name);
  if (const DiskResult begun = Begin(DiskOp::kCreate, path, 0, 0); begun != DiskResult::kOk) {
    return begun;
  }
  const InodePtr there = Find(path);
  if (there && there->is_directory) return DiskResult::kIoError;
  if (there) {
    const DiskResult cut = Truncate(path, there.get(), 0);
    *out = there;
    return cut;
  }
  const InodePtr parent = Find(ParentOf(path));
  if (!parent || !parent->is_directory) return DiskResult::kNotFound;
  *out = std::make_shared<Inode>();
  Change({NameChange::Kind::kAdd, path, "", *out});
  return DiskResult::kOk;
}

DiskResult SimDisk::Open(const std::string& path, InodePtr* out) {
  if (dead_) return DiskResult::kIoError;
  *out = Find(path);
  return *out ? DiskResult::kOk : DiskResult::kNotFound;
}

DiskResult SimDisk::Write(const std::string& path, Inode* file, uint64_t offset,
                          std::string_view bytes) {
  DiskResult result = Begin(DiskOp::kWrite, path, offset, bytes.size());
  if (dead_) return result;
  if (result == DiskResult::kOk && capacity_ > 0 && this->bytes() + bytes.size() > capacity_) {
    result = DiskResult::kNoSpace;
    was_full_ = true;
  }
  if (result != DiskResult::kOk) bytes = bytes.substr(0, rng_.Below(bytes.size() + 1));
  if (bytes.empty()) return result;
  const uint64_t first = std::min<uint64_t>(offset, file->data.size()) / page_bytes_;
  if (file->data.size() < offset + bytes.size()) file->data.resize(offset + bytes.size());
  file->data.replace(offset, bytes.size(), bytes);
  const uint64_t last = (offset + bytes.size() - 1) / page_bytes_;
  for (uint64_t page = first; page <= last; ++page) file->dirty_pages.insert(page);
  return result;
}

DiskResult SimDisk::Sync(const std::string& path, Inode* file) {
  const DiskResult result = Begin(DiskOp::kSync, path, 0, file->data.size());
  if (dead_) return result;
  if (result == DiskResult::kOk) {
    file->synced.resize(file->data.size());
    for (const uint64_t page : file->dirty_pages) {
      const uint64_t from = page * page_bytes_;
      if (from >= file->data.size()) continue;
      const uint64_t n = std::min<uint64_t>(page_bytes_, file->data.size() - from);
      file->synced.replace(from, n, file->data, from, n);
      trace_.synced_bytes += n;
    }
  }
  file->dirty_pages.clear();
  return result;
}

DiskResult SimDisk::Truncate(const std::string& path, Inode* file, uint64_t size) {
  const DiskResult result = Begin(DiskOp::kTruncate, path, 0, size);
  if (result != DiskResult::kOk) return result;
  const uint64_t before = file->data.size();
  file->data.resize(size);
  for (uint64_t page = std::min(before, size) / page_bytes_;
       page * page_bytes_ < std::max(before, size); ++page) {
    file->dirty_pages.insert(page);
  }
  return DiskResult::kOk;
}

DiskResult SimDisk::Read(const std::string& path, const Inode& file, uint64_t offset, size_t n,
                         std::string_view* out) {
  const DiskResult result = Begin(DiskOp::kRead, path, offset, n);
  if (result != DiskResult::kOk && result != DiskResult::kShort) return result;
  *out = std::string_view(file.data).substr(std::min<uint64_t>(offset, file.data.size()), n);
  // Whole pages of it, perhaps none: RocksDB's read-ahead asserts that.
  if (result == DiskResult::kShort && !out->empty()) {
    *out = out->substr(0, rng_.Below(out->size()) / kCachePageBytes * kCachePageBytes);
  }
  return DiskResult::kOk;
}

DiskResult SimDisk::Rename(const std::string& from_name, const std::string& to_name) {
  const std::string from = Clean(from_name);
  const std::string to = Clean(to_name);
  if (const DiskResult begun = Begin(DiskOp::kRename, from + ">" + to, 0, 0);
      begun != DiskResult::kOk) {
    return begun;
  }
  if (!Find(from) || !Find(ParentOf(to))) return DiskResult::kNotFound;
  Change({NameChange::Kind::kRename, from, to, nullptr});
  return DiskResult::kOk;
}

DiskResult SimDisk::Link(const std::string& from_name, const std::string& to_name) {
  const std::string from = Clean(from_name);
  const std::string to = Clean(to_name);
  if (const DiskResult begun = Begin(DiskOp::kLink, from + ">" + to, 0, 0);
      begun != DiskResult::kOk) {
    return begun;
  }
  const InodePtr file = Find(from);
  if (!file || !Find(ParentOf(to))) return DiskResult::kNotFound;
  if (Find(to)) return DiskResult::kExists;
  Change({NameChange::Kind::kAdd, to, "", file});
  return DiskResult::kOk;
}

DiskResult SimDisk::Delete(const std::string& name) {
  const std::string path = Clean(name);
  if (const DiskResult begun = Begin(DiskOp::kDelete, path, 0, 0); begun != DiskResult::kOk) {
    return begun;
  }
  const InodePtr file = Find(path);
  if (!file || file->is_directory) return DiskResult::kNotFound;
  Change({NameChange::Kind::kRemove, path, "", nullptr});
  return DiskResult::kOk;
}

DiskResult SimDisk::MakeDir(const std::string& name) {
  const std::string path = Clean(name);
  if (const DiskResult begun = Begin(DiskOp::kMakeDir, path, 0, 0); begun != DiskResult::kOk) {
    return begun;
  }
  if (Find(path)) return DiskResult::kExists;
  if (!Find(ParentOf(path))) return DiskResult::kNotFound;
  // One of that name was there before and is gone for good: what is in either is told apart by its
  // path only.
  std::erase_if(name_changes_, [&](const NameChange& change) {
    if (change.path != path || change.kind == NameChange::Kind::kRename) return false;
    Apply(change, &durable_names_);
    return true;
  });
  const auto directory = std::make_shared<Inode>();
  directory->is_directory = true;
  Change({NameChange::Kind::kAdd, path, "", directory});
  return DiskResult::kOk;
}

DiskResult SimDisk::DeleteDir(const std::string& name) {
  const std::string path = Clean(name);
  if (const DiskResult begun = Begin(DiskOp::kDeleteDir, path, 0, 0); begun != DiskResult::kOk) {
    return begun;
  }
  if (!Find(path)) return DiskResult::kNotFound;
  if (HasChildren(path)) return DiskResult::kNotEmpty;
  // What was done in it goes with it: another directory may get its name.
  std::erase_if(name_changes_, [&](const NameChange& change) {
    return IsBelow(change.path, path) &&
           (change.kind != NameChange::Kind::kRename || IsBelow(change.to, path));
  });
  Change({NameChange::Kind::kRemove, path, "", nullptr});
  return DiskResult::kOk;
}

// Makes the changes of names in it durable, in their order.
DiskResult SimDisk::SyncDir(const std::string& name) {
  const std::string path = Clean(name);
  if (const DiskResult begun = Begin(DiskOp::kSyncDir, path, 0, 0); begun != DiskResult::kOk) {
    return begun;
  }
  if (!Find(path)) return DiskResult::kNotFound;
  std::erase_if(name_changes_, [&](const NameChange& change) {
    const bool here = ParentOf(change.path) == path ||
                      (change.kind == NameChange::Kind::kRename && ParentOf(change.to) == path);
    if (here) Apply(change, &durable_names_);
    return here;
  });
  return DiskResult::kOk;
}

DiskResult SimDisk::List(const std::string& directory_name, std::vector<std::string>* names) const {
  const std::string path = Clean(directory_name);
  if (dead_) return DiskResult::kIoError;
  const InodePtr directory = Find(path);
  if (!directory || !directory->is_directory) return DiskResult::kNotFound;
  const size_t prefix = path == "/" ? 1 : path.size() + 1;
  for (const auto& [name, inode] : names_) {
    if (name != "/" && ParentOf(name) == path) names->push_back(name.substr(prefix));
  }
  return DiskResult::kOk;
}

bool SimDisk::HasChildren(const std::string& path) const {
  return std::any_of(names_.begin(), names_.end(),
                     [&](const auto& entry) { return IsBelow(entry.first, path); });
}

void SimDisk::Change(NameChange change) {
  Apply(change, &names_);
  name_changes_.push_back(std::move(change));
}

void SimDisk::Apply(const NameChange& change, Names* names) {
  switch (change.kind) {
    case NameChange::Kind::kAdd:
      (*names)[change.path] = change.inode;
      return;
    case NameChange::Kind::kRemove:
      names->erase(change.path);
      std::erase_if(*names, [&](const auto& entry) { return IsBelow(entry.first, change.path); });
      return;
    case NameChange::Kind::kRename:
      break;
  }
  const auto from = names->find(change.path);
  if (from == names->end()) return;  // its own creation was lost
  const InodePtr inode = from->second;
  names->erase(from);
  (*names)[change.to] = inode;
  Names moved;
  for (auto it = names->begin(); it != names->end();) {
    if (!IsBelow(it->first, change.path)) {
      ++it;
      continue;
    }
    moved[change.to + it->first.substr(change.path.size())] = it->second;
    it = names->erase(it);
  }
  names->merge(moved);
}

bool SimDisk::FlipBit(const std::string& path, uint64_t bit) {
  const InodePtr file = Find(path);
  if (!file || file->data.empty()) return false;
  const uint64_t at = bit / 8 % file->data.size();
  file->data[at] ^= static_cast<char>(1 << bit % 8);
  if (at < file->synced.size()) file->synced[at] = file->data[at];
  return true;
}

void SimDisk::SyncEverything() {
  for (const auto& [name, inode] : names_) {
    inode->synced = inode->data;
    inode->dirty_pages.clear();
  }
  name_changes_.clear();
  durable_names_ = names_;
}

void SimDisk::LoseTail(const std::string& path, uint64_t size) {
  const InodePtr file = Find(path);
  if (!file) return;
  for (std::string* image : {&file->data, &file->synced}) {
    image->resize(std::min<uint64_t>(image->size(), size));
  }
}

SimDisk::Copy SimDisk::CopyOf(const std::string& directory) const {
  Copy copy;
  for (const auto& [name, inode] : names_) {
    if (IsBelow(name, directory) && !inode->is_directory) copy[name] = inode->data;
  }
  return copy;
}

void SimDisk::PutBack(const std::string& directory, const Copy& copy) {
  SyncEverything();
  std::erase_if(names_, [&](const auto& entry) { return IsBelow(entry.first, directory); });
  for (const auto& [name, bytes] : copy) {
    names_[name] = std::make_shared<Inode>();
    names_[name]->data = bytes;
  }
  SyncEverything();
}

void SimDisk::Lose(const std::string& path) {
  names_.erase(path);
  durable_names_.erase(path);
}

bool SimDisk::IsDurable(const std::string& path) const {
  const auto durable = durable_names_.find(path);
  const InodePtr file = Find(path);
  if (file == nullptr || durable == durable_names_.end() || durable->second != file) return false;
  // That zeros were cut off its end, which a crash may undo, takes nothing away.
  return file->synced.starts_with(file->data) &&
         file->synced.find_first_not_of('\0', file->data.size()) == std::string::npos;
}

uint64_t SimDisk::bytes() const {
  std::set<const Inode*> counted;
  uint64_t total = 0;
  for (const auto& [name, inode] : names_) {
    if (counted.insert(inode.get()).second) total += inode->data.size();
  }
  return total;
}

std::vector<std::string> SimDisk::Files() const {
  std::vector<std::string> files;
  for (const auto& [name, inode] : names_) {
    if (!inode->is_directory) files.push_back(name);
  }
  return files;
}

// --- Crashes ----------------------------------------------------------------------------------

void SimDisk::Restart(CrashKind kind) {
  dead_ = power_failed_ = was_full_ = false;
  changes_left_ = UINT64_MAX;
  fault_hook_ = nullptr;
  if (kind == CrashKind::kProcess) return;
  LoseNames(kind);
  std::set<Inode*> seen;
  for (const auto& [name, inode] : names_) {
    if (!inode->is_directory && seen.insert(inode.get()).second) LosePages(kind, inode.get());
  }
}

// A journal keeps the order of what it records, so normally a beginning of the changes survives. A
// harsh crash keeps any of them, as long as each still makes sense after those before it.
void SimDisk::LoseNames(CrashKind kind) {
  Names survived = durable_names_;
  const uint64_t keep = rng_.Below(name_changes_.size() + 1);
  std::set<std::string> lost;
  for (size_t i = 0; i < name_changes_.size(); ++i) {
    const NameChange& change = name_changes_[i];
    bool kept = kind == CrashKind::kHarsh ? rng_.Percent(50) : i < keep;
    if (lost.contains(change.path) || lost.contains(change.to)) kept = false;
    if (change.kind != NameChange::Kind::kRemove && !survived.contains(ParentOf(change.path))) {
      kept = false;
    }
    if (kept) {
      Apply(change, &survived);
    } else {
      lost.insert(change.path);
      if (!change.to.empty()) lost.insert(change.to);
    }
  }
  name_changes_.clear();
  // What was synced in a directory whose own name was not is gone with it. Parents come first.
  for (auto it = survived.begin(); it != survived.end();) {
    const bool has_parent = it->first == "/" || survived.contains(ParentOf(it->first));
    it = has_parent ? std::next(it) : survived.erase(it);
  }
  durable_names_ = survived;
  names_ = std::move(survived);
}

uint64_t SimDisk::TornAt(uint64_t bytes) {
  if (page_bytes_ > kSectorBytes) return rng_.Below(bytes / kSectorBytes + 1) * kSectorBytes;
  return rng_.Below(bytes + 1);
}

void SimDisk::LosePages(CrashKind kind, Inode* file) {
  if (!file->dirty_pages.empty() || file->data != file->synced) {
    std::string image = file->synced;
    const bool shrunk = file->data.size() < file->synced.size();
    // A length that was cut is one change: it survives or not.
    if (shrunk && rng_.Percent(50)) image.resize(file->data.size());
    const std::vector<uint64_t> pages(file->dirty_pages.begin(), file->dirty_pages.end());
    uint64_t keep = rng_.Below(pages.size() + 1);
    if (rng_.Percent(20)) keep = pages.size();
    for (size_t i = 0; i < pages.size(); ++i) {
      const uint64_t from = pages[i] * page_bytes_;
      if (from >= file->data.size()) break;
      uint64_t n = std::min<uint64_t>(page_bytes_, file->data.size() - from);
      if (kind == CrashKind::kHarsh) {
        const uint64_t fate = rng_.Below(4);
        if (fate == 0) continue;
        if (fate == 1) n = TornAt(n);
      } else {
        if (i > keep) break;
        if (i == keep) n = TornAt(n);
      }
      if (image.size() < from + n) image.resize(from + n);
      image.replace(from, n, file->data, from, n);
    }
    // The length may have reached the disk before the data did.
    if (kind == CrashKind::kHarsh && image.size() < file->data.size() && rng_.Percent(30)) {
      image.resize(file->data.size());
    }
    file->data = std::move(image);
    file->synced = file->data;
  }
  file->dirty_pages.clear();
}

}  // namespace raftkv::sim
