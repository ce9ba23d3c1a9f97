// Alarms, defragmentation and the comparison of replicas. Every function prints and returns the
// exit code (commands.h).
#pragma once

#include <cstdint>

#include "tools/ctl/client.h"
#include "tools/ctl/commands.h"

namespace raftkv::tools::ctl {

int RunAlarmList(Client* client, const Output& output);
// Takes back every alarm that is raised; prints those.
int RunAlarmDisarm(Client* client, const Output& output);

// Each endpoint by itself, one after the other; with `cluster`, every client address that the
// members advertise. Fails if any endpoint does.
int RunDefrag(Client* client, const Output& output, bool cluster);

// The hash of each endpoint's own state at one revision: `revision`, or the newest one that all of
// them have. Fails if they differ, or if any endpoint does.
int RunHashKv(Client* client, const Output& output, bool cluster, int64_t revision);

}  // namespace raftkv::tools::ctl
