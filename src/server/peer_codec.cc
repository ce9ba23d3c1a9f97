#include "server/peer_codec.h"

#include <limits>
#include <utility>

namespace raftkv::server {
namespace {

void Encode(LogPosition position, peer::v1::LogPosition* out) {
  out->set_index(position.index.value());
  out->set_term(position.term.value());
}

LogPosition Decode(const peer::v1::LogPosition& in) { return {Index(in.index()), Term(in.term())}; }

struct BodyEncoder {
  peer::v1::Frame* frame;

  void operator()(const raft::VoteRequest& m) const {
    auto* out = frame->mutable_vote_request();
    out->set_pre_vote(m.pre_vote);
    out->set_leadership_transfer(m.leadership_transfer);
    Encode(m.last, out->mutable_last());
  }
  void operator()(const raft::VoteResponse& m) const {
    auto* out = frame->mutable_vote_response();
    out->set_pre_vote(m.pre_vote);
    out->set_granted(m.granted);
  }
  void operator()(const raft::AppendRequest& m) const {
    auto* out = frame->mutable_append_request();
    Encode(m.previous, out->mutable_previous());
    out->set_commit(m.commit.value());
    Encode(m.counted, out->mutable_counted());
    out->set_heard_run(m.heard_run);
    out->mutable_entries()->Reserve(static_cast<int>(m.entries.size()));
    for (const Entry& entry : m.entries) {
      auto* e = out->add_entries();
      e->set_term(entry.term.value());
      e->set_kind(static_cast<uint32_t>(entry.kind));
      if (entry.payload) e->set_payload(*entry.payload);
    }
  }
  void operator()(const raft::AppendResponse& m) const {
    auto* out = frame->mutable_append_response();
    out->set_rejected(m.rejected);
    out->set_match(m.match.value());
    out->set_rejected_previous(m.rejected_previous.value());
    Encode(m.hint, out->mutable_hint());
    out->set_run(m.run);
  }
  void operator()(const raft::Heartbeat& m) const {
    auto* out = frame->mutable_heartbeat();
    out->set_commit(m.commit.value());
    out->set_read_round(m.read_round);
    Encode(m.counted, out->mutable_counted());
    out->set_heard_run(m.heard_run);
  }
  void operator()(const raft::HeartbeatResponse& m) const {
    auto* out = frame->mutable_heartbeat_response();
    out->set_read_round(m.read_round);
    out->set_run(m.run);
  }
  void operator()(const raft::TimeoutNow&) const { frame->mutable_timeout_now(); }
  void operator()(const raft::ReadIndexRequest& m) const {
    frame->mutable_read_index_request()->set_token(m.token);
  }
  void operator()(const raft::ReadIndexResponse& m) const {
    auto* out = frame->mutable_read_index_response();
    out->set_token(m.token);
    out->set_index(m.index.value());
  }
  // It never crosses the network (src/raft/message.h); an empty frame is refused by the receiver.
  void operator()(const raft::InstallSnapshot&) const {}
};

StatusOr<raft::AppendRequest> DecodeAppend(peer::v1::AppendRequest* in) {
  raft::AppendRequest out;
  out.previous = Decode(in->previous());
  out.commit = Index(in->commit());
  out.counted = Decode(in->counted());
  out.heard_run = in->heard_run();
  const uint64_t indexes_left = std::numeric_limits<uint64_t>::max() - out.previous.index.value();
  if (static_cast<uint64_t>(in->entries_size()) > indexes_left) {
    return Status(Code::kInvalidArgument, "the entries' indexes would wrap");
  }
  out.entries.reserve(in->entries_size());
  Index index = out.previous.index;
  Term term = out.previous.term;
  for (auto& e : *in->mutable_entries()) {
    ++index;
    if (e.term() < term.value() || e.term() == 0) {
      return Status(Code::kInvalidArgument, "entry " + std::to_string(index.value()) +
                                                " has a term below its predecessor's");
    }
    term = Term(e.term());
    if (e.kind() > static_cast<uint32_t>(EntryKind::kConfig)) {
      return Status(Code::kInvalidArgument, "entry " + std::to_string(index.value()) +
                                                " is of unknown kind " + std::to_string(e.kind()));
    }
    Payload payload;
    if (!e.payload().empty()) {
      payload = std::make_shared<const std::string>(std::move(*e.mutable_payload()));
    }
    out.entries.push_back({index, term, static_cast<EntryKind>(e.kind()), std::move(payload)});
  }
  return out;
}

}  // namespace

void EncodeMessage(const raft::Message& message, peer::v1::Frame* frame) {
  frame->set_term(message.term.value());
  std::visit(BodyEncoder{frame}, message.body);
}

StatusOr<raft::Message> DecodeMessage(NodeId from, NodeId to, peer::v1::Frame* frame) {
  raft::Message message{from, to, Term(frame->term()), raft::TimeoutNow{}};
  using Frame = peer::v1::Frame;
  switch (frame->body_case()) {
    case Frame::kVoteRequest: {
      const auto& in = frame->vote_request();
      message.body = raft::VoteRequest{in.pre_vote(), in.leadership_transfer(), Decode(in.last())};
      return message;
    }
    case Frame::kVoteResponse:
      message.body =
          raft::VoteResponse{frame->vote_response().pre_vote(), frame->vote_response().granted()};
      return message;
    case Frame::kAppendRequest: {
      RAFTKV_ASSIGN_OR_RETURN(message.body, DecodeAppend(frame->mutable_append_request()));
      return message;
    }
    case Frame::kAppendResponse: {
      const auto& in = frame->append_response();
      message.body =
          raft::AppendResponse{in.rejected(), Index(in.match()), Index(in.rejected_previous()),
                               Decode(in.hint()), in.run()};
      return message;
    }
    case Frame::kHeartbeat: {
      const auto& in = frame->heartbeat();
      message.body = raft::Heartbeat{Index(in.commit()), in.read_round(), Decode(in.counted()),
                                     in.heard_run()};
      return message;
    }
    case Frame::kHeartbeatResponse: {
      const auto& in = frame->heartbeat_response();
      message.body = raft::HeartbeatResponse{in.read_round(), in.run()};
      return message;
    }
    case Frame::kTimeoutNow:
      return message;
    case Frame::kReadIndexRequest:
      message.body = raft::ReadIndexRequest{frame->read_index_request().token()};
      return message;
    case Frame::kReadIndexResponse:
      message.body = raft::ReadIndexResponse{frame->read_index_response().token(),
                                             Index(frame->read_index_response().index())};
      return message;
    case Frame::kForward:
    case Frame::kForwardRefused:
    case Frame::BODY_NOT_SET:
      break;
  }
  return Status(Code::kInvalidArgument, "a peer frame without a Raft message");
}

}  // namespace raftkv::server
