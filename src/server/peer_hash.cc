#include "server/peer_hash.h"

#include "raft.grpc.pb.h"
#include "server/peer_channel.h"

namespace raftkv::server {

StatusOr<HashKvAnswer> AskHashKv(const HashKvQuestion& question) {
  const auto stub = peer::v1::Peer::NewStub(MakePeerChannel(question.url));
  grpc::ClientContext context;
  AddPeerMetadata(&context, question.cluster, question.from, question.to, "");
  context.set_deadline(std::chrono::system_clock::now() + question.timeout);
  peer::v1::HashKvRequest request;
  request.set_revision(question.revision);
  peer::v1::HashKvResponse response;
  RAFTKV_RETURN_IF_ERROR(FromPeerStatus(stub->HashKv(&context, request, &response),
                                        "hashing at " + question.url.HostPort()));
  return HashKvAnswer{response.hash(), response.revision(), response.compact_revision(),
                      Index(response.applied_index())};
}

}  // namespace raftkv::server
