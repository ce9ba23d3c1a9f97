// What several subcommands say of a directory, in JSON and in words.
#pragma once

#include <string>

#include "common/status.h"
#include "common/types.h"
#include "store/applied_record.h"
#include "store/cluster_state.h"
#include "tools/dump/report.h"
#include "wal/wal_scanner.h"

namespace raftkv::tools::dump {

Json PositionJson(const LogPosition& position);

// null for what could not be read.
Json HardStateJson(const StatusOr<HardState>& state);
Json AppliedJson(const StatusOr<store::AppliedRecord>& applied);
Json AlarmsJson(const StatusOr<store::ClusterState>& cluster);

// The WAL files, and how they end.
Json WalJson(const wal::WalScan& scan);

// A JSON value as words: objects as "name value, name value", lists with spaces, null as "none".
std::string Words(const Json& json);

// Appends a line of `text` with a label in front, aligned with the others.
void AppendLine(const std::string& label, const std::string& words, std::string* text);

// "2026-01-02T03:04:05.678Z".
std::string TimeText(uint64_t ms_since_epoch);

}  // namespace raftkv::tools::dump
