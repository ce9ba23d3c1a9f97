// What each subcommand does, given its request. Every function prints and returns the exit code.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "rpc.pb.h"
#include "tools/ctl/client.h"
#include "tools/ctl/printer.h"

namespace raftkv::tools::ctl {

// Exit codes are part of the interface: scripts tell by them whether a write may be sent again.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // and nothing was changed
inline constexpr int kExitUsage = 2;   // nothing was sent
inline constexpr int kExitUnknown =
    3;  // a write may have been applied, or may be yet, or its answer is lost

// Where commands print. Not owned.
struct Output {
  Printer* printer;
  std::ostream* out;
  std::ostream* err;
};

int RunPut(Client* client, const Output& output, const etcdserverpb::PutRequest& request);
int RunGet(Client* client, const Output& output, const etcdserverpb::RangeRequest& request);
int RunDel(Client* client, const Output& output, const etcdserverpb::DeleteRangeRequest& request);
int RunTxn(Client* client, const Output& output, const etcdserverpb::TxnRequest& request);
int RunCompact(Client* client, const Output& output,
               const etcdserverpb::CompactionRequest& request);
int RunMemberList(Client* client, const Output& output);

// Each endpoint by itself; with `cluster`, every client address that the members advertise. Fails
// if any endpoint does.
int RunStatus(Client* client, const Output& output, bool cluster);
int RunHealth(Client* client, const Output& output, bool cluster);

// Finds the leader through the endpoints and their member list, and asks it, once.
int RunMoveLeader(Client* client, const Output& output, uint64_t target);

}  // namespace raftkv::tools::ctl
