#include "tools/ctl/snapshot_commands.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>

#include "common/identity.h"
#include "common/url.h"
#include "store/restore.h"
#include "store/snapshot_file.h"
#include "tools/ctl/call.h"
#include "tools/support/text.h"
#include "wal/log_store.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::Maintenance;

Status FileError(const std::string& what, const std::string& path) {
  return Status(Code::kIoError, "can't " + what + " " + path + ": " + std::strerror(errno));
}

// A file being written. Closed with it.
class OutputFile {
 public:
  explicit OutputFile(std::string path) : path_(std::move(path)) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd_ < 0) status_ = FileError("make", path_);
  }
  ~OutputFile() {
    if (fd_ >= 0) close(fd_);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const Status& status() const { return status_; }

  void Write(std::string_view bytes) {
    while (status_.ok() && !bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        status_ = FileError("write", path_);
      } else {
        bytes.remove_prefix(static_cast<size_t>(written));
      }
    }
  }

  void Sync() {
    if (status_.ok() && fsync(fd_) != 0) status_ = FileError("sync", path_);
  }

 private:
  const std::string path_;
  int fd_ = -1;
  Status status_;
};

Status SyncDirectoryOf(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string directory = parent.empty() ? "." : parent.string();
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError("open", directory);
  const Status status = fsync(fd) == 0 ? Status::Ok() : FileError("sync", directory);
  close(fd);
  return status;
}

// The stream of one endpoint to `path`, synced. `disk` is what became of the file.
CallResult Fetch(Client* client, const std::string& endpoint, const std::string& path,
                 Status* disk) {
  return client->Stream(
      endpoint, [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
        Maintenance::Stub stub(channel);
        const auto reader = stub.Snapshot(context, etcdserverpb::SnapshotRequest());
        OutputFile file(path);
        etcdserverpb::SnapshotResponse part;
        while (file.status().ok() && reader->Read(&part)) file.Write(part.blob());
        if (!file.status().ok()) context->TryCancel();
        const grpc::Status status = reader->Finish();
        if (status.ok()) file.Sync();
        *disk = file.status();
        return status;
      });
}

// --initial-cluster, by name. A member with several URLs is named once for each.
StatusOr<std::map<std::string, std::vector<std::string>>> ParseCluster(const RestoreFlags& flags) {
  std::map<std::string, std::vector<std::string>> members;
  std::string text = flags.initial_cluster;
  if (text.empty()) {
    for (const std::string& url : SplitCommas(flags.initial_advertise_peer_urls)) {
      text += flags.name + "=" + url + ",";
    }
  }
  for (const std::string& part : SplitCommas(text)) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Status(Code::kInvalidArgument,
                    "--initial-cluster: '" + part + "' is not name=http://host:port");
    }
    RAFTKV_ASSIGN_OR_RETURN(const Url url, ParseUrl(part.substr(equals + 1)));
    members[part.substr(0, equals)].push_back(url.ToString());
  }
  if (!members.contains(flags.name)) {
    return Status(Code::kInvalidArgument, "--initial-cluster does not name this node ('" +
                                              flags.name + "'); add it or set --name");
  }
  std::set<std::string> advertised;
  for (const std::string& part : SplitCommas(flags.initial_advertise_peer_urls)) {
    RAFTKV_ASSIGN_OR_RETURN(const Url url, ParseUrl(part));
    advertised.insert(url.ToString());
  }
  const auto& own = members[flags.name];
  if (std::set<std::string>(own.begin(), own.end()) != advertised) {
    return Status(Code::kInvalidArgument,
                  "--initial-cluster has other URLs for " + flags.name +
                      " than --initial-advertise-peer-urls; make them the same");
  }
  return members;
}

// Everything of the new node but its data.
StatusOr<store::RestoreOptions> ToRestoreOptions(const RestoreFlags& flags,
                                                 const std::string& data_dir) {
  RAFTKV_ASSIGN_OR_RETURN(const auto members, ParseCluster(flags));
  const std::string& token = flags.initial_cluster_token;
  Membership membership;
  std::set<std::string> names;
  for (const auto& [name, urls] : members) {
    const NodeId id = DeriveNodeId(token, name);
    membership.voters.insert(id);
    membership.info[id].peer_urls = urls;
    names.insert(name);
  }
  store::RestoreOptions options;
  options.engine.path = data_dir + "/db";
  options.identity.cluster = DeriveClusterId(token, names);
  options.identity.node = DeriveNodeId(token, flags.name);
  options.identity.node_name = flags.name;
  options.revision_bump = flags.bump_revision;
  options.mark_compacted = flags.mark_compacted;
  const LogPosition start = store::kRestoredPosition;
  options.raft_meta =
      wal::LogStore::BootstrapRecords(membership, start, {start.term, NodeId(), start.index});
  return options;
}

// A node of the old cluster must not take one of the new for its own: they have different logs.
Status CheckNewCluster(const RestoreFlags& flags, ClusterId cluster) {
  RAFTKV_ASSIGN_OR_RETURN(const store::SnapshotFileInfo info,
                          store::ReadSnapshotFile(flags.path, nullptr));
  if (info.header.cluster != cluster) return Status::Ok();
  return Status(Code::kFailedPrecondition,
                "this would be the cluster that the snapshot was taken of, whose nodes, should one "
                "still be about, would mix with it; choose another --initial-cluster-token");
}

SnapshotSummary Summarize(const store::SnapshotFileInfo& info) {
  SnapshotSummary summary;
  summary.cluster_id = info.header.cluster.value();
  summary.revision = info.header.applied.revision;
  summary.keys = info.keys;
  summary.records = info.records;
  summary.bytes = info.bytes;
  summary.digest = info.digest;
  return summary;
}

int Fail(const Output& output, const char* command, const std::string& what) {
  *output.err << "raftkvctl: " << command << ": " << what << "\n";
  return kExitFailed;
}

}  // namespace

int RunSnapshotSave(Client* client, const Output& output, const std::string& path) {
  const std::string part = path + ".part";
  CallResult result;
  Status disk;
  for (const std::string& endpoint : client->options().endpoints) {
    result = Fetch(client, endpoint, part, &disk);
    if (result.verdict == Verdict::kDone || !disk.ok()) break;
    *output.err << "raftkvctl: snapshot save: " << endpoint << ": " << result.error << "\n";
  }
  const auto give_up = [&](const std::string& why) {
    unlink(part.c_str());
    return Fail(output, "snapshot save", why);
  };
  if (!disk.ok()) return give_up(disk.message());
  if (result.verdict != Verdict::kDone) return give_up("no endpoint gave a snapshot");
  const StatusOr<store::SnapshotFileInfo> info = store::ReadSnapshotFile(part, nullptr);
  if (!info.ok()) {
    return give_up("what " + result.endpoint +
                   " sent is not a whole snapshot: " + info.status().message());
  }
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    return give_up(FileError("rename to", path).message());
  }
  if (const Status status = SyncDirectoryOf(path); !status.ok()) {
    return Fail(output, "snapshot save", status.message());
  }
  *output.out << output.printer->SnapshotSaved(Summarize(*info), path);
  return kExitOk;
}

int RunSnapshotStatus(const Output& output, const std::string& path) {
  const StatusOr<store::SnapshotFileInfo> info = store::ReadSnapshotFile(path, nullptr);
  if (!info.ok()) return Fail(output, "snapshot status", info.status().message());
  *output.out << output.printer->SnapshotStatus(Summarize(*info));
  return kExitOk;
}

int RunSnapshotRestore(const Output& output, const RestoreFlags& flags) {
  constexpr const char* kCommand = "snapshot restore";
  const std::string data_dir = flags.data_dir.empty() ? flags.name + ".raftkv" : flags.data_dir;
  const StatusOr<store::RestoreOptions> options = ToRestoreOptions(flags, data_dir);
  if (!options.ok()) {
    Fail(output, kCommand, options.status().message());
    return kExitUsage;
  }
  std::error_code error;
  const bool exists = std::filesystem::exists(data_dir, error);
  if (exists && !std::filesystem::is_empty(data_dir, error)) {
    return Fail(output, kCommand,
                data_dir + " is not empty: restore into a directory that does not exist yet");
  }
  if (const Status status = CheckNewCluster(flags, options->identity.cluster); !status.ok()) {
    return Fail(output, kCommand, status.message());
  }
  std::filesystem::create_directories(data_dir, error);
  if (error) return Fail(output, kCommand, "can't make " + data_dir + ": " + error.message());
  const StatusOr<store::SnapshotFileInfo> info = store::RestoreSnapshot(flags.path, *options);
  if (!info.ok()) return Fail(output, kCommand, info.status().message());
  if (const Status status = SyncDirectoryOf(data_dir); !status.ok()) {
    return Fail(output, kCommand, status.message());
  }
  *output.err << "raftkvctl: restored revision " << info->header.applied.revision << " ("
              << info->keys << " keys) into " << data_dir << " for member "
              << IdText(options->identity.node.value()) << " of cluster "
              << IdText(options->identity.cluster.value())
              << "; start raftkvd with the same --name, --initial-cluster and "
                 "--initial-cluster-token\n";
  return kExitOk;
}

}  // namespace raftkv::tools::ctl
