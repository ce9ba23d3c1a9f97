#include "server/foreign_directory.h"

#include <filesystem>
#include <set>

#include "server/marker_file.h"

namespace raftkv::server {
namespace {

namespace fs = std::filesystem;

// What may be there before there is a database: the lock file, a bootstrap that was cut short, and
// what a file system of its own puts into its root.
const std::set<std::string> kHarmless = {"raftkv.lock", "db.bootstrap", "lost+found"};

}  // namespace

Status CheckNotForeign(const std::string& data_dir) {
  // A file or a pipe "db" is no node's; nor is a directory "member", which etcd has.
  std::error_code error;
  if (fs::is_directory(data_dir + "/db", error)) return Status::Ok();
  for (const char* marker : {kMemberMarker, kRemovedMarker}) {
    if (fs::is_regular_file(data_dir + "/" + marker, error)) return Status::Ok();
  }
  fs::directory_iterator it(data_dir, error);
  if (error) return Status::Ok();  // not there, or unreadable: whoever makes or locks it says so
  for (; it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (kHarmless.contains(name)) continue;
    return {Code::kFailedPrecondition,
            data_dir + " is not a raftkv data directory, and not empty (it holds '" + name +
                "'); choose an empty or a new directory with --data-dir"};
  }
  return Status::Ok();
}

}  // namespace raftkv::server
