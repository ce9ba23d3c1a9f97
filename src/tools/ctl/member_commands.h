// What the subcommands that change the member list do. Every function prints and returns the exit
// code (commands.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/ctl/client.h"
#include "tools/ctl/commands.h"

namespace raftkv::tools::ctl {

struct NewMember {
  std::string name;
  std::vector<std::string> peer_urls;  // checked: ParsePeerUrls
  bool learner = false;
};

// "http://a:1,http://b:2", each in raftkvd's canonical form; kInvalidArgument for anything else.
StatusOr<std::vector<std::string>> ParsePeerUrls(const std::string& list);

// The flags that start a new member, given the members after it was added: it joins through any of
// them.
std::vector<std::string> JoinFlags(const NewMember& added, uint64_t id,
                                   const std::vector<etcdserverpb::Member>& members);

int RunMemberAdd(Client* client, const Output& output, const NewMember& added);
int RunMemberRemove(Client* client, const Output& output, uint64_t id);
int RunMemberPromote(Client* client, const Output& output, uint64_t id);
int RunMemberUpdate(Client* client, const Output& output, uint64_t id,
                    const std::vector<std::string>& peer_urls);

// Puts `added` in the place of the member `old_id`: adds it as a learner, says how to start it,
// promotes it once it has caught up, and removes the old one. Whatever an earlier run got done is
// taken over, so that a run that was cut off is simply run again. Gives up waiting after `timeout`.
int RunMemberReplace(Client* client, const Output& output, uint64_t old_id, const NewMember& added,
                     std::chrono::milliseconds timeout);

}  // namespace raftkv::tools::ctl
