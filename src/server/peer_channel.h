// What every call between nodes has in common: the channel, and the metadata that says who asks
// whom.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "common/status.h"
#include "common/types.h"
#include "server/options.h"

namespace raftkv::server {

// gRPC metadata of a peer call; the receiver refuses one that is not for it.
inline constexpr char kPeerMetaVersion[] = "raftkv-peer-version";
inline constexpr char kPeerMetaCluster[] = "raftkv-cluster";
inline constexpr char kPeerMetaFrom[] = "raftkv-from";
inline constexpr char kPeerMetaTo[] = "raftkv-to";
// Where the sender is reached, for receivers that have not heard of it.
inline constexpr char kPeerMetaFromUrl[] = "raftkv-from-url";
inline constexpr char kPeerProtocolVersion[] = "1";

// With PERMISSION_DENIED: what a member that was removed is told by its former peers. No other
// refusal has that code.
inline constexpr char kRemovedMessage[] = "this member was removed from the cluster";

// The channel shares its TCP connection with no other: peers must not share their fate with
// clients, nor heartbeats theirs with a snapshot.
std::shared_ptr<grpc::Channel> MakePeerChannel(const Url& url);

void AddPeerMetadata(grpc::ClientContext* context, ClusterId cluster, NodeId from, NodeId to,
                     const std::string& advertise_url);

// What a call of the member `id` is answered that was removed.
grpc::Status RemovedRefusal(NodeId id);
// Whether `status` says that the caller was removed from the cluster.
bool IsRemovedStatus(const grpc::Status& status);

// A failed peer call in our terms; `what` says what was being done.
Status FromPeerStatus(const grpc::Status& status, const std::string& what);

}  // namespace raftkv::server
