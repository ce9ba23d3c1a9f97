// A disk that can lose power: what was synced is safe, what was not is up to chance.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/rng.h"

namespace raftkv::sim {

// Why an operation did not happen.
enum class DiskResult {
  kOk,
  kNotFound,
  kExists,
  kNotEmpty,
  kIoError,
  kNoSpace,
  kShort  // of a read, for the fault hook alone: a part of it is all there is
};

enum class DiskOp : uint8_t {
  kCreate,
  kWrite,
  kSync,
  kTruncate,
  kRead,
  kRename,
  kLink,
  kDelete,
  kMakeDir,
  kDeleteDir,
  kSyncDir
};

// What a crash leaves of pages that were written and not synced.
enum class CrashKind {
  kProcess,  // the process ends, the machine goes on: nothing is lost
  kPower,    // of each file a beginning of what was not synced, the last page of it perhaps torn
  kHarsh,    // any subset of the pages, torn ones among them, with zeros in the holes
};

// A file or directory, whatever names it has.
struct Inode {
  bool is_directory = false;
  std::string data;                // what a reader sees
  std::string synced;              // what is on the platter
  std::set<uint64_t> dirty_pages;  // that may differ between the two
};
using InodePtr = std::shared_ptr<Inode>;

// What was done to a disk, to compare runs by.
struct DiskTrace {
  uint64_t hash = 0;
  uint64_t operations = 0;
  uint64_t synced_bytes = 0;
};

// Not thread-safe. Names are absolute paths; "/" is always there.
//
// Model: a file is two images, as written and as synced, and the set of pages in which they may
// differ. Names are another thing: a directory's entries are durable once the directory was synced;
// until then a crash keeps a part of the changes. POSIX promises no more.
class SimDisk {
 public:
  // `page_bytes`: what is lost or kept as one; a torn page is cut at a multiple of 512 bytes, or
  // anywhere if it is no larger.
  SimDisk(uint64_t seed, uint32_t page_bytes);

  // --- What a file system does. ---
  DiskResult Create(const std::string& path, InodePtr* out);  // empties a file that is there
  DiskResult Open(const std::string& path, InodePtr* out);
  DiskResult Append(const std::string& path, Inode* file, std::string_view bytes) {
    return Write(path, file, file->data.size(), bytes);
  }
  DiskResult Write(const std::string& path, Inode* file, uint64_t offset, std::string_view bytes);
  DiskResult Sync(const std::string& path, Inode* file);
  DiskResult Truncate(const std::string& path, Inode* file, uint64_t size);
  DiskResult Read(const std::string& path, const Inode& file, uint64_t offset, size_t n,
                  std::string_view* out);
  DiskResult Rename(const std::string& from, const std::string& to);
  DiskResult Link(const std::string& from, const std::string& to);
  DiskResult Delete(const std::string& path);
  DiskResult MakeDir(const std::string& path);
  DiskResult DeleteDir(const std::string& path);
  DiskResult SyncDir(const std::string& path);
  DiskResult List(const std::string& path, std::vector<std::string>* names) const;
  InodePtr Find(const std::string& path) const;  // null when there is none
  bool dead() const { return dead_; }

  // --- Faults. ---
  // Nothing works from now on, until Restart.
  void Kill() { dead_ = true; }
  // Kills it at the operation that changes something, `changes` from now.
  void KillAfter(uint64_t changes) { changes_left_ = changes; }
  // That has happened since the last Restart.
  bool power_failed() const { return power_failed_; }
  // What is done instead of an operation; kOk: nothing. A sync that fails marks its pages as clean,
  // though they are not on the platter (Rebello et al., 2020); a write that fails writes a part.
  // Null: nothing fails.
  using FaultHook = std::function<DiskResult(DiskOp op, const std::string& path)>;
  void SetFaultHook(FaultHook hook) { fault_hook_ = std::move(hook); }
  // Bytes there may be in all; 0: no limit.
  void SetCapacity(uint64_t bytes) { capacity_ = bytes; }
  // A write found no room since the last Restart.
  bool was_full() const { return was_full_; }
  // Flips one bit of a file, on the platter and in what is read. False when it is empty.
  bool FlipBit(const std::string& path, uint64_t bit);
  // Everything that was written becomes durable, as it does when a machine goes on for long enough.
  void SyncEverything();
  // Takes what follows the first `size` bytes of a file away, on the platter too.
  void LoseTail(const std::string& path, uint64_t size);
  // The files in a directory as they are read now; and such files put in place of those that are
  // there, durably.
  using Copy = std::map<std::string, std::string>;
  Copy CopyOf(const std::string& directory) const;
  void PutBack(const std::string& directory, const Copy& copy);
  void Lose(const std::string& path);

  // Works again, with what a crash of this kind left.
  void Restart(CrashKind kind);

  // Of everything since the start; reads count, unless they failed.
  const DiskTrace& trace() const { return trace_; }
  uint64_t bytes() const;
  std::vector<std::string> Files() const;
  // Whether a power loss could take nothing of the file away.
  bool IsDurable(const std::string& path) const;

 private:
  // A change of names that is not durable yet.
  struct NameChange {
    enum class Kind { kAdd, kRemove, kRename } kind;
    std::string path;
    std::string to;  // of a rename
    InodePtr inode;  // of an addition
  };
  using Names = std::map<std::string, InodePtr>;

  // What comes before every operation. Anything but kOk is its result.
  DiskResult Begin(DiskOp op, const std::string& path, uint64_t offset, uint64_t bytes);
  void Change(NameChange change);
  static void Apply(const NameChange& change, Names* names);
  bool HasChildren(const std::string& path) const;
  void LosePages(CrashKind kind, Inode* file);
  void LoseNames(CrashKind kind);
  uint64_t TornAt(uint64_t bytes);

  const uint32_t page_bytes_;
  Rng rng_;
  Names names_;
  Names durable_names_;
  std::vector<NameChange> name_changes_;  // oldest first
  bool dead_ = false;
  bool power_failed_ = false;
  bool was_full_ = false;
  uint64_t changes_left_ = UINT64_MAX;
  uint64_t capacity_ = 0;
  FaultHook fault_hook_;
  DiskTrace trace_;
};

}  // namespace raftkv::sim
