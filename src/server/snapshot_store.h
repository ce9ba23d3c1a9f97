// The store's snapshots as what the transfer sends and receives.
#pragma once

#include <string>

#include "server/snapshot_stream.h"
#include "store/engine.h"
#include "store/snapshot_source.h"

namespace raftkv::server {

// Reads the checkpoint that Engine::MakeCheckpoint made in `path` as the snapshot `id`. What the
// log holds is not looked at: a snapshot consists of the applied state.
StatusOr<std::unique_ptr<store::SnapshotSource>> OpenCheckpointSource(const std::string& path,
                                                                      uint64_t id);

// Each call makes a checkpoint of `engine` below `directory`, which is the checkpoint's alone; it
// is removed with the source. What an earlier process left there is removed by the first call.
OpenChunkSource StoreChunkSource(store::Engine* engine, std::string directory);

// Finish stages the tables into `engine`. Snapshots of another cluster are refused.
OpenChunkSink StoreChunkSink(store::Engine* engine);

}  // namespace raftkv::server
