#include "tools/ctl/snapshot_commands.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "store/restore.h"
#include "store/snapshot_file.h"
#include "tools/ctl/call.h"
#include "tools/support/output_file.h"
#include "tools/support/text.h"

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
  const StatusOr<OutputPlace> file = PlaceOutput(path);
  if (!file.ok()) return Fail(output, "snapshot save", file.status().message());
  const std::string& part = file->part;
  const RemovedOnSignal removed_on_signal(part);
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
  if (std::rename(part.c_str(), file->path.c_str()) != 0) {
    return give_up(FileError("rename to", path).message());
  }
  if (const Status status = SyncDirectoryOf(file->path); !status.ok()) {
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
  const StatusOr<store::RestoreOptions> options = NewClusterOptions(flags, data_dir);
  if (!options.ok()) {
    Fail(output, kCommand, options.status().message());
    return kExitUsage;
  }
  if (const Status status = CheckNewDirectory(data_dir); !status.ok()) {
    return Fail(output, kCommand, status.message());
  }
  StatusOr<store::SnapshotFileInfo> info = store::ReadSnapshotFile(flags.path, nullptr);
  if (!info.ok()) return Fail(output, kCommand, info.status().message());
  Status status = CheckNewCluster(info->header.cluster, options->identity.cluster, "the snapshot");
  if (status.ok()) {
    status = MakeNewDirectory(data_dir, [&] {
      info = store::RestoreSnapshot(flags.path, *options);
      return info.status();
    });
  }
  if (!status.ok()) return Fail(output, kCommand, status.message());
  *output.err << "raftkvctl: restored revision " << info->header.applied.revision << " ("
              << info->keys << " keys) into " << data_dir << " for member "
              << IdText(options->identity.node.value()) << " of cluster "
              << IdText(options->identity.cluster.value()) << "; " << HowToStart(flags, data_dir)
              << "\n";
  return kExitOk;
}

}  // namespace raftkv::tools::ctl
