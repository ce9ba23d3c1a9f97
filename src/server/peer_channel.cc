#include "server/peer_channel.h"

#include <spdlog/spdlog.h>

namespace raftkv::server {

std::shared_ptr<grpc::Channel> MakePeerChannel(const Url& url) {
  grpc::ChannelArguments args;
  // A peer that comes back should be reached within a heartbeat or two, not after gRPC's default of
  // up to two minutes.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // Finds out that a peer's machine is gone although its connection looks open.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetMaxSendMessageSize(-1);
  // Channels to one address share a connection by default.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(url.HostPort(), grpc::InsecureChannelCredentials(), args);
}

void AddPeerMetadata(grpc::ClientContext* context, ClusterId cluster, NodeId from, NodeId to,
                     const std::string& advertise_url) {
  context->AddMetadata(kPeerMetaVersion, kPeerProtocolVersion);
  context->AddMetadata(kPeerMetaCluster, std::to_string(cluster.value()));
  context->AddMetadata(kPeerMetaFrom, std::to_string(from.value()));
  context->AddMetadata(kPeerMetaTo, std::to_string(to.value()));
  if (!advertise_url.empty()) context->AddMetadata(kPeerMetaFromUrl, advertise_url);
}

grpc::Status RemovedRefusal(NodeId id) {
  return {grpc::StatusCode::PERMISSION_DENIED,
          fmt::format("{}: member {:x}; to bring this machine back, run raftkvctl member add and "
                      "start it with an empty data directory",
                      kRemovedMessage, id.value())};
}

bool IsRemovedStatus(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::PERMISSION_DENIED &&
         status.error_message().starts_with(kRemovedMessage);
}

Status FromPeerStatus(const grpc::Status& status, const std::string& what) {
  if (status.ok()) return Status::Ok();
  const std::string message = what + ": " + status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::OUT_OF_RANGE:
      return {Code::kOutOfRange, message};
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::PERMISSION_DENIED:
      return {Code::kFailedPrecondition, message};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {Code::kUnimplemented, message};
    case grpc::StatusCode::DATA_LOSS:
      return {Code::kCorruption, message};
    case grpc::StatusCode::INTERNAL:
      return {Code::kInternal, message};
    default:
      return {Code::kUnavailable, message};
  }
}

}  // namespace raftkv::server
