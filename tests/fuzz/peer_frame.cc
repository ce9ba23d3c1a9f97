// What a peer sends on its stream (src/server/peer_codec.h).
#include "fuzz/fuzz.h"
#include "server/peer_codec.h"

namespace raftkv::fuzz {

FUZZ_TARGET(peer_frame) {
  peer::v1::Frame frame;
  if (!frame.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;
  const StatusOr<raft::Message> message = server::DecodeMessage(NodeId(1), NodeId(2), &frame);
  if (!message.ok()) return;
  (void)ToString(*message);
  if (const auto* append = std::get_if<raft::AppendRequest>(&message->body)) {
    LogPosition last = append->previous;
    for (const Entry& entry : append->entries) {
      Require(entry.index > last.index, "indexes of an append go back");
      Require(entry.term >= last.term && entry.term > Term(0), "terms of an append go back");
      last = {entry.index, entry.term};
    }
  }
  peer::v1::Frame again;
  server::EncodeMessage(*message, &again);
  const StatusOr<raft::Message> copy = server::DecodeMessage(NodeId(1), NodeId(2), &again);
  Require(copy.ok() && ToString(*copy) == ToString(*message), "a message changed on the way");
}

}  // namespace raftkv::fuzz
