// Core messages as peer frames and back.
#pragma once

#include "common/status.h"
#include "raft.pb.h"
#include "raft/message.h"

namespace raftkv::server {

// Fills `frame`. Addresses are not in it: the stream's metadata has them.
void EncodeMessage(const raft::Message& message, peer::v1::Frame* frame);

// kInvalidArgument when the frame holds no Raft message or one that can't be: unknown entry kinds
// and entries with a term of 0 are refused here, so that the core need not expect them. Takes
// payloads out of `frame`.
StatusOr<raft::Message> DecodeMessage(NodeId from, NodeId to, peer::v1::Frame* frame);

}  // namespace raftkv::server
