#include "tools/ctl/admin_cli.h"

#include <charconv>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/ctl/maintenance_commands.h"
#include "tools/ctl/member_commands.h"
#include "tools/ctl/snapshot_commands.h"
#include "tools/support/text.h"

namespace raftkv::tools::ctl {

struct AdminCli::Impl {
  using Runner = std::function<int(Client*, const Output&)>;

  std::vector<std::pair<CLI::App*, Runner>> commands;
  // What the command line gives them.
  uint64_t member = 0;
  NewMember added;
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  bool cluster = false;
  int64_t revision = 0;
  std::string path;
  RestoreFlags restore;

  void AddMembers(CLI::App* app);
  void AddMaintenance(CLI::App* app);
  void AddSnapshot(CLI::App* app);
  CLI::App* Add(CLI::App* app, const std::string& name, const std::string& description,
                const std::string& example, Runner run);
  int RunRestore(const Output& output) const;
};

// An option that is taken as `parse` understands it; what that refuses is wrong usage.
template <typename Value, typename Parse>
CLI::Option* AddParsed(CLI::App* command, const std::string& name, Value* value, Parse parse,
                       const std::string& description) {
  return command->add_option_function<std::string>(
      name,
      [=](const std::string& text) {
        auto parsed = parse(text);
        if (!parsed.ok()) throw CLI::ValidationError(name, parsed.status().message());
        *value = *std::move(parsed);
      },
      description);
}

StatusOr<std::chrono::milliseconds> ParseTimeout(const std::string& text) {
  if (const std::optional<uint64_t> ms = ParseDurationMs(text)) {
    return std::chrono::milliseconds(*ms);
  }
  return Status(Code::kInvalidArgument, "'" + text + "' is not a duration (such as 5m)");
}

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

CLI::App* AdminCli::Impl::Add(CLI::App* app, const std::string& name,
                              const std::string& description, const std::string& example,
                              Runner run) {
  return commands.emplace_back(AddCommand(app, name, description, example), std::move(run)).first;
}

void AdminCli::Impl::AddMembers(CLI::App* app) {
  CLI::App* group = AddCommand(app, "member", "The members of the cluster and changes of them",
                               "raftkvctl member list");
  group->require_subcommand(1);
  Add(group, "list", "List the members", "raftkvctl member list -w table",
      [](Client* client, const Output& output) { return RunMemberList(client, output); });
  CLI::App* add = Add(
      group, "add",
      "Add a member, and say how to start it. It counts for the quorum only once it has started "
      "and caught up",
      "raftkvctl member add n4 --peer-urls http://10.0.0.4:2380",
      [this](Client* client, const Output& output) { return RunMemberAdd(client, output, added); });
  CLI::App* remove =
      Add(group, "remove", "Remove a member, for good", "raftkvctl member remove 8211f1d0f64f3269",
          [this](Client* client, const Output& output) {
            return RunMemberRemove(client, output, member);
          });
  CLI::App* promote = Add(group, "promote", "Make a learner that is in sync a voter",
                          "raftkvctl member promote 8211f1d0f64f3269",
                          [this](Client* client, const Output& output) {
                            return RunMemberPromote(client, output, member);
                          });
  CLI::App* update =
      Add(group, "update", "Change where a member is reached",
          "raftkvctl member update 8211f1d0f64f3269 --peer-urls http://10.0.0.7:2380",
          [this](Client* client, const Output& output) {
            return RunMemberUpdate(client, output, member, added.peer_urls);
          });
  CLI::App* replace =
      Add(group, "replace",
          "Put a new member in the place of an old one: add it, say how to start it, wait until it "
          "has caught up, promote it, remove the old one. May be run again wherever it was cut off",
          "raftkvctl member replace 8211f1d0f64f3269 n4 --peer-urls http://10.0.0.4:2380",
          [this](Client* client, const Output& output) {
            return RunMemberReplace(client, output, member, added, timeout);
          });
  for (CLI::App* command : {remove, promote, update, replace}) {
    AddParsed(command, "id", &member, ParseMemberId, "The member's id, hexadecimal")->required();
  }
  for (CLI::App* command : {add, replace}) {
    command->add_option("name", added.name, "The new member's name")->required();
  }
  for (CLI::App* command : {add, update, replace}) {
    AddParsed(command, "--peer-urls", &added.peer_urls, ParsePeerUrls,
              "Where the other members reach it, http://host:port, separated by commas")
        ->required();
  }
  add->add_flag("--learner", added.learner, "It stays a learner until it is promoted by hand");
  AddParsed(replace, "--timeout", &timeout, ParseTimeout, "How long to wait for the new member")
      ->default_str("10m");
}

void AdminCli::Impl::AddMaintenance(CLI::App* app) {
  CLI::App* alarm = AddCommand(app, "alarm", "Alarms that are raised", "raftkvctl alarm list");
  alarm->require_subcommand(1);
  Add(alarm, "list", "List the alarms", "raftkvctl alarm list",
      [](Client* client, const Output& output) { return RunAlarmList(client, output); });
  Add(alarm, "disarm", "Take all alarms back", "raftkvctl alarm disarm",
      [](Client* client, const Output& output) { return RunAlarmDisarm(client, output); });
  CLI::App* defrag = Add(
      app, "defrag",
      "Rewrite the store of each endpoint without what was deleted, and wait until that is done; "
      "reads and writes go on",
      "raftkvctl defrag --cluster",
      [this](Client* client, const Output& output) { return RunDefrag(client, output, cluster); });
  CLI::App* hashkv =
      Add(app, "hashkv", "Compare a hash of the data at one revision between endpoints",
          "raftkvctl hashkv --cluster", [this](Client* client, const Output& output) {
            return RunHashKv(client, output, cluster, revision);
          });
  hashkv->add_option("--rev", revision, "The revision (default: the newest that all have)");
  for (CLI::App* command : {defrag, hashkv}) {
    command->add_flag("--cluster", cluster, "Every member, not only --endpoints");
  }
}

void AdminCli::Impl::AddSnapshot(CLI::App* app) {
  CLI::App* group = AddCommand(app, "snapshot", "Backups", "raftkvctl snapshot save backup.db");
  group->require_subcommand(1);
  CLI::App* save =
      Add(group, "save", "Save a snapshot of a running node in a file",
          "raftkvctl snapshot save backup.db", [this](Client* client, const Output& output) {
            return RunSnapshotSave(client, output, path);
          });
  CLI::App* status =
      Add(group, "status", "Check a snapshot file, and say what it holds",
          "raftkvctl snapshot status backup.db -w table",
          [this](Client*, const Output& output) { return RunSnapshotStatus(output, path); });
  CLI::App* const r =
      Add(group, "restore",
          "Make the data directory of one node of a new cluster; no node needs to run",
          "raftkvctl snapshot restore backup.db --name n1 --initial-cluster "
          "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380 --initial-cluster-token restored "
          "--initial-advertise-peer-urls http://10.0.0.1:2380 --data-dir n1.raftkv",
          [this](Client*, const Output& output) { return RunRestore(output); });
  for (CLI::App* command : {save, status, r}) {
    command->add_option("file", path, "The snapshot file")->required();
  }
  r->add_option("--data-dir", restore.data_dir, "What to make (default: <name>.raftkv)");
  AddNewClusterOptions(r, &restore);
}

int AdminCli::Impl::RunRestore(const Output& output) const {
  RestoreFlags flags = restore;
  flags.path = path;
  return RunSnapshotRestore(output, flags);
}

AdminCli::AdminCli(CLI::App* app) : impl_(std::make_unique<Impl>()) {
  impl_->AddMembers(app);
  impl_->AddMaintenance(app);
  impl_->AddSnapshot(app);
}

AdminCli::~AdminCli() = default;

std::optional<int> AdminCli::Run(Client* client, const Output& output) const {
  for (const auto& [command, run] : impl_->commands) {
    if (*command) return run(client, output);
  }
  return std::nullopt;
}

}  // namespace raftkv::tools::ctl
