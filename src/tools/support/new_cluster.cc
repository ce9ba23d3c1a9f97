#include "tools/support/new_cluster.h"

#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/identity.h"
#include "common/url.h"
#include "common/utf8.h"
#include "store/engine_files.h"
#include "tools/support/text.h"
#include "wal/log_store.h"

namespace raftkv::tools {
namespace {

namespace fs = std::filesystem;

// --initial-cluster, by name. A member with several URLs is named once for each.
StatusOr<std::map<std::string, std::vector<std::string>>> ParseCluster(
    const NewClusterFlags& flags) {
  std::map<std::string, std::vector<std::string>> members;
  std::map<std::string, std::string> names_by_url;
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
    const std::string name = part.substr(0, equals);
    const std::string& owner = names_by_url.emplace(url.ToString(), name).first->second;
    if (owner != name) {
      return Status(Code::kInvalidArgument, "--initial-cluster gives '" + owner + "' and '" + name +
                                                "' the same URL, " + url.ToString() +
                                                "; every member needs its own");
    }
    members[name].push_back(url.ToString());
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

}  // namespace

void AddNewClusterOptions(CLI::App* command, NewClusterFlags* flags) {
  command->add_option("--name", flags->name, "The new node's name")->capture_default_str();
  command->add_option("--initial-cluster", flags->initial_cluster,
                      "All members of the new cluster: name=peer-url,... (default: this node "
                      "alone)");
  command
      ->add_option("--initial-cluster-token", flags->initial_cluster_token,
                   "Of the new cluster: not the former one's")
      ->capture_default_str();
  command
      ->add_option("--initial-advertise-peer-urls", flags->initial_advertise_peer_urls,
                   "Where the other members reach this one")
      ->capture_default_str();
  command
      ->add_option("--bump-revision", flags->bump_revision,
                   "Raise the revision by so much, so that none is given out twice")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag_callback(
      "--no-bump-revision",
      [flags] {
        flags->bump_revision = 0;
        flags->mark_compacted = false;
      },
      "Leave revision and history as they were: only if no client saw the former cluster");
}

StatusOr<store::RestoreOptions> NewClusterOptions(const NewClusterFlags& flags,
                                                  const std::string& data_dir) {
  // As raftkvd, which would not start on what was made.
  for (const auto& [flag, text] :
       {std::pair("--name", &flags.name), std::pair("--initial-cluster", &flags.initial_cluster)}) {
    if (!IsUtf8(*text)) {
      return Status(Code::kInvalidArgument, std::string(flag) + " must be valid UTF-8");
    }
  }
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

Status CheckNewCluster(ClusterId old_cluster, ClusterId new_cluster, const std::string& what) {
  if (old_cluster != new_cluster) return Status::Ok();
  return Status(Code::kFailedPrecondition,
                "this would be the cluster that " + what +
                    " was taken of, whose nodes, should one still be about, would mix with it; "
                    "choose another --initial-cluster-token");
}

Status CheckNewDirectory(const std::string& data_dir) {
  std::error_code error;
  if (!fs::exists(data_dir, error)) return Status::Ok();
  if (fs::is_directory(data_dir, error) && fs::is_empty(data_dir, error)) return Status::Ok();
  return Status(Code::kAlreadyExists,
                data_dir + " is not empty: name a directory that does not exist yet");
}

Status MakeNewDirectory(const std::string& data_dir, const std::function<Status()>& build) {
  RAFTKV_RETURN_IF_ERROR(CheckNewDirectory(data_dir));
  std::error_code error;
  const bool is_new = fs::create_directories(data_dir, error);
  if (error) return Status(Code::kIoError, "can't make " + data_dir + ": " + error.message());
  if (const Status status = build(); !status.ok()) {
    // What could not be finished must not look like a node's directory, nor take up space. All that
    // is in it was made here.
    for (const auto& entry : fs::directory_iterator(data_dir, error)) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
    }
    if (is_new) fs::remove(data_dir, error);
    return status;
  }
  RAFTKV_RETURN_IF_ERROR(store::SyncDirectory(data_dir));
  const fs::path parent = fs::absolute(data_dir).lexically_normal().parent_path();
  return store::SyncDirectory(parent.string());
}

std::string HowToStart(const NewClusterFlags& flags, const std::string& data_dir) {
  std::string out = "start it with raftkvd --name=" + flags.name + " --data-dir=" + data_dir +
                    " --initial-cluster-token=" + flags.initial_cluster_token +
                    " --initial-advertise-peer-urls=" + flags.initial_advertise_peer_urls;
  if (!flags.initial_cluster.empty()) out += " --initial-cluster=" + flags.initial_cluster;
  return out;
}

}  // namespace raftkv::tools
