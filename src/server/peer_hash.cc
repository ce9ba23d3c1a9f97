#include "server/peer_hash.h"

#include "raft.grpc.pb.h"
#include "server/peer_channel.h"

namespace raftkv::server {
namespace {

constexpr auto kStopPoll = std::chrono::milliseconds(100);

}  // namespace

StatusOr<HashKvAnswer> AskHashKv(const HashKvQuestion& question,
                                 const std::function<bool()>& stop) {
  const auto stub = peer::v1::Peer::NewStub(MakePeerChannel(question.url));
  grpc::ClientContext context;
  AddPeerMetadata(&context, question.cluster, question.from, question.to, "");
  context.set_deadline(std::chrono::system_clock::now() + question.timeout);
  peer::v1::HashKvRequest request;
  request.set_revision(question.revision);
  peer::v1::HashKvResponse response;
  grpc::CompletionQueue queue;
  grpc::Status status;
  const auto call = stub->AsyncHashKv(&context, request, &queue);
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  while (queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kStopPoll) ==
         grpc::CompletionQueue::TIMEOUT) {
    if (stop && stop()) context.TryCancel();
  }
  RAFTKV_RETURN_IF_ERROR(FromPeerStatus(status, "hashing at " + question.url.HostPort()));
  return HashKvAnswer{response.hash(), response.revision(), response.compact_revision(),
                      Index(response.applied_index())};
}

}  // namespace raftkv::server
