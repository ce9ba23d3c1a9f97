// What a node changed on disk and has not synced: how to take it back.
//
// The shim (shim.cc), loaded into the node, notes before each change what was there; when the node
// syncs a file or a directory, what was noted of it is done with. After a kill everything is still
// in the page cache; taking back what is left, or some of it, leaves the disk as a power cut would.
//
// The log is a file that outlives the node's process: records of varying length, each with its
// length in front. One that is cut off belongs to a change that did not begin.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/rng.h"
#include "common/status.h"

namespace raftkv::torture {

// The exit code of a node whose shim could not note a change.
constexpr int kShimGaveUp = 117;

enum class UndoKind : uint8_t {
  kBytes = 1,  // `bytes` were at `offset` of file `inode`, which was `size` long
  kCreate,     // there was no `path`
  kRename,     // `path` was called `other`; what was called `path`, if anything, is at `saved`
  kUnlink,     // `path` is kept at `saved`
  kMkdir,      // there was no directory `path`
  kRmdir,      // there was an empty directory `path`
  kSync,       // file or directory `inode`: changes before `sequence` are on disk
};

struct UndoRecord {
  UndoKind kind = UndoKind::kBytes;
  uint64_t sequence = 0;
  uint64_t inode = 0;  // of the file; of the directory for changes of names
  uint64_t offset = 0;
  uint64_t size = 0;
  std::string path;
  std::string other;
  std::string saved;
  std::string bytes;
};

std::string EncodeUndo(const UndoRecord& record);

// The records that are not done with, in order; what a sync covers is left out.
StatusOr<std::vector<UndoRecord>> ReadUndoLog(const std::string& path);

struct PowerCut {
  uint64_t files = 0;    // that lost something
  uint64_t changes = 0;  // that were taken back
  uint64_t kept = 0;     // that had not been synced and stayed
};

// Takes back what the log at `log` says of the files below `directory`, and empties it. The node
// must not run. Of each file a prefix of its unsynced changes may stay, the last of them torn; of
// the names in directories a prefix too; as `rng` decides.
StatusOr<PowerCut> CutPower(const std::string& log, const std::string& directory, Rng* rng);

}  // namespace raftkv::torture
