// A small file that says "this directory has belonged to a node", kept outside the database so that
// it outlives a database that was deleted.
#pragma once

#include <string>

#include "common/status.h"

namespace raftkv::server {

// In the data directory of a node: its name.
inline constexpr char kMemberMarker[] = "member";
// In the data directory of a member that was removed from its cluster: who said so.
inline constexpr char kRemovedMarker[] = "removed";

// Makes `path` hold `content`, durably and atomically (written beside, synced, renamed, directory
// synced). Does nothing when it holds it already.
Status WriteMarkerFile(const std::string& path, const std::string& content);

}  // namespace raftkv::server
