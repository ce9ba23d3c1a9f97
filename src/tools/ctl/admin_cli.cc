#include "tools/ctl/admin_cli.h"

#include <charconv>

#include <CLI/CLI.hpp>

#include "store/restore.h"
#include "tools/ctl/maintenance_commands.h"
#include "tools/ctl/member_commands.h"
#include "tools/ctl/snapshot_commands.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {

struct AdminCli::Impl {
  std::string id;
  std::string name;
  std::string peer_urls;
  std::string timeout = "10m";
  bool learner = false;
  bool cluster = false;
  int64_t revision = 0;
  std::string path;
  RestoreFlags restore;
  bool no_bump = false;

  CLI::App* member_list = nullptr;
  CLI::App* member_add = nullptr;
  CLI::App* member_remove = nullptr;
  CLI::App* member_promote = nullptr;
  CLI::App* member_update = nullptr;
  CLI::App* member_replace = nullptr;
  CLI::App* alarm_list = nullptr;
  CLI::App* alarm_disarm = nullptr;
  CLI::App* defrag = nullptr;
  CLI::App* hashkv = nullptr;
  CLI::App* snapshot_save = nullptr;
  CLI::App* snapshot_status = nullptr;
  CLI::App* snapshot_restore = nullptr;

  Impl() { restore.bump_revision = store::kRevisionBump; }
  void AddMember(CLI::App* app);
  void AddMaintenance(CLI::App* app);
  void AddSnapshot(CLI::App* app);
  int RunRestore(const Output& output) const;
  std::optional<int> RunMember(Client* client, const Output& output) const;
  int RunOnId(Client* client, const Output& output, uint64_t member) const;
};

CLI::App* AddCommand(CLI::App* app, const std::string& name, const std::string& description,
                     const std::string& example) {
  CLI::App* command = app->add_subcommand(name, description);
  command->footer("Example:\n  " + example);
  return command;
}

StatusOr<uint64_t> ParseMemberId(const std::string& text) {
  uint64_t id = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, id, 16);
  if (error != std::errc() || end != last || id == 0) {
    return Status(Code::kInvalidArgument,
                  "'" + text + "' is not a member id (see raftkvctl member list)");
  }
  return id;
}

int UsageError(const Output& output, const std::string& message) {
  *output.err << "raftkvctl: " << message << "\n";
  return kExitUsage;
}

void AdminCli::Impl::AddMember(CLI::App* app) {
  CLI::App* member = AddCommand(app, "member", "The members of the cluster and changes of them",
                                "raftkvctl member list");
  member->require_subcommand(1);
  member_list = AddCommand(member, "list", "List the members", "raftkvctl member list -w table");
  member_add = AddCommand(member, "add",
                          "Add a member, and say how to start it. It counts for the quorum only "
                          "once it has started and caught up",
                          "raftkvctl member add n4 --peer-urls http://10.0.0.4:2380");
  member_remove = AddCommand(member, "remove", "Remove a member, for good",
                             "raftkvctl member remove 8211f1d0f64f3269");
  member_promote = AddCommand(member, "promote", "Make a learner that is in sync a voter",
                              "raftkvctl member promote 8211f1d0f64f3269");
  member_update =
      AddCommand(member, "update", "Change where a member is reached",
                 "raftkvctl member update 8211f1d0f64f3269 --peer-urls http://10.0.0.7:2380");
  member_replace = AddCommand(
      member, "replace",
      "Put a new member in the place of an old one: add it, say how to start it, wait until it has "
      "caught up, promote it, remove the old one. May be run again wherever it was cut off",
      "raftkvctl member replace 8211f1d0f64f3269 n4 --peer-urls http://10.0.0.4:2380");
  for (CLI::App* command : {member_remove, member_promote, member_update, member_replace}) {
    command->add_option("id", id, "The member's id, hexadecimal")->required();
  }
  for (CLI::App* command : {member_add, member_replace}) {
    command->add_option("name", name, "The new member's name")->required();
  }
  for (CLI::App* command : {member_add, member_update, member_replace}) {
    command
        ->add_option("--peer-urls", peer_urls,
                     "Where the other members reach it, http://host:port, separated by commas")
        ->required();
  }
  member_add->add_flag("--learner", learner, "It stays a learner until it is promoted by hand");
  member_replace->add_option("--timeout", timeout, "How long to wait for the new member")
      ->capture_default_str();
}

void AdminCli::Impl::AddMaintenance(CLI::App* app) {
  CLI::App* alarm = AddCommand(app, "alarm", "Alarms that are raised", "raftkvctl alarm list");
  alarm->require_subcommand(1);
  alarm_list = AddCommand(alarm, "list", "List the alarms", "raftkvctl alarm list");
  alarm_disarm = AddCommand(alarm, "disarm", "Take all alarms back", "raftkvctl alarm disarm");
  defrag = AddCommand(app, "defrag", "Compact the store of each endpoint, in the background",
                      "raftkvctl defrag --cluster");
  hashkv = AddCommand(app, "hashkv", "Compare a hash of the data at one revision between endpoints",
                      "raftkvctl hashkv --cluster");
  hashkv->add_option("--rev", revision, "The revision (default: the newest that all have)");
  for (CLI::App* command : {defrag, hashkv}) {
    command->add_flag("--cluster", cluster, "Every member, not only --endpoints");
  }
}

void AdminCli::Impl::AddSnapshot(CLI::App* app) {
  CLI::App* snapshot = AddCommand(app, "snapshot", "Backups", "raftkvctl snapshot save backup.db");
  snapshot->require_subcommand(1);
  snapshot_save = AddCommand(snapshot, "save", "Save a snapshot of a running node in a file",
                             "raftkvctl snapshot save backup.db");
  snapshot_status = AddCommand(snapshot, "status", "Check a snapshot file, and say what it holds",
                               "raftkvctl snapshot status backup.db -w table");
  snapshot_restore =
      AddCommand(snapshot, "restore",
                 "Make the data directory of one node of a new cluster; no node needs to run",
                 "raftkvctl snapshot restore backup.db --name n1 --initial-cluster "
                 "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380 --initial-cluster-token restored "
                 "--initial-advertise-peer-urls http://10.0.0.1:2380 --data-dir n1.raftkv");
  for (CLI::App* command : {snapshot_save, snapshot_status, snapshot_restore}) {
    command->add_option("file", path, "The snapshot file")->required();
  }
  CLI::App* const r = snapshot_restore;
  r->add_option("--name", restore.name, "The node's name")->capture_default_str();
  r->add_option("--data-dir", restore.data_dir, "What to make (default: <name>.raftkv)");
  r->add_option("--initial-cluster", restore.initial_cluster,
                "All members of the new cluster: name=peer-url,... (default: this node alone)");
  r->add_option("--initial-cluster-token", restore.initial_cluster_token,
                "Of the new cluster: not the former one's")
      ->capture_default_str();
  r->add_option("--initial-advertise-peer-urls", restore.initial_advertise_peer_urls,
                "Where the other members reach this one")
      ->capture_default_str();
  r->add_option("--bump-revision", restore.bump_revision,
                "Raise the revision by so much, so that none is given out twice")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  r->add_flag("--no-bump-revision", no_bump,
              "Leave revision and history as they were: only if no client saw the former cluster");
}

int AdminCli::Impl::RunRestore(const Output& output) const {
  RestoreFlags flags = restore;
  flags.path = path;
  if (no_bump) {
    flags.bump_revision = 0;
    flags.mark_compacted = false;
  }
  return RunSnapshotRestore(output, flags);
}

int AdminCli::Impl::RunOnId(Client* client, const Output& output, uint64_t member) const {
  if (*member_remove) return RunMemberRemove(client, output, member);
  if (*member_promote) return RunMemberPromote(client, output, member);
  const auto urls = ParsePeerUrls(peer_urls);
  if (!urls.ok()) return UsageError(output, urls.status().message());
  if (*member_update) return RunMemberUpdate(client, output, member, *urls);
  const std::optional<uint64_t> ms = ParseDurationMs(timeout);
  if (!ms) return UsageError(output, "--timeout: '" + timeout + "' is not a duration (such as 5m)");
  return RunMemberReplace(client, output, member, {name, *urls, /*learner=*/true},
                          std::chrono::milliseconds(*ms));
}

std::optional<int> AdminCli::Impl::RunMember(Client* client, const Output& output) const {
  if (*member_list) return RunMemberList(client, output);
  if (*member_add) {
    const auto urls = ParsePeerUrls(peer_urls);
    if (!urls.ok()) return UsageError(output, urls.status().message());
    return RunMemberAdd(client, output, {name, *urls, learner});
  }
  if (*member_remove || *member_promote || *member_update || *member_replace) {
    const StatusOr<uint64_t> member = ParseMemberId(id);
    if (!member.ok()) return UsageError(output, member.status().message());
    return RunOnId(client, output, *member);
  }
  return std::nullopt;
}

AdminCli::AdminCli(CLI::App* app) : impl_(std::make_unique<Impl>()) {
  impl_->AddMember(app);
  impl_->AddMaintenance(app);
  impl_->AddSnapshot(app);
}

AdminCli::~AdminCli() = default;

std::optional<int> AdminCli::Run(Client* client, const Output& output) const {
  if (const std::optional<int> code = impl_->RunMember(client, output)) return code;
  if (*impl_->alarm_list) return RunAlarmList(client, output);
  if (*impl_->alarm_disarm) return RunAlarmDisarm(client, output);
  if (*impl_->defrag) return RunDefrag(client, output, impl_->cluster);
  if (*impl_->snapshot_save) return RunSnapshotSave(client, output, impl_->path);
  if (*impl_->snapshot_status) return RunSnapshotStatus(output, impl_->path);
  if (*impl_->snapshot_restore) return impl_->RunRestore(output);
  if (*impl_->hashkv) return RunHashKv(client, output, impl_->cluster, impl_->revision);
  return std::nullopt;
}

}  // namespace raftkv::tools::ctl
