#include "server/peer_codec.h"

#include <gtest/gtest.h>

namespace raftkv::server {
namespace {

using raft::Message;

// Through the wire's bytes and back.
StatusOr<Message> RoundTrip(const Message& message) {
  peer::v1::Frame frame;
  EncodeMessage(message, &frame);
  peer::v1::Frame arrived;
  EXPECT_TRUE(arrived.ParseFromString(frame.SerializeAsString()));
  return DecodeMessage(message.from, message.to, &arrived);
}

Message Make(raft::MessageBody body) { return {NodeId(1), NodeId(2), Term(7), std::move(body)}; }

TEST(PeerCodec, EveryMessageKindRoundTrips) {
  const LogPosition position{Index(9), Term(4)};
  const std::vector<raft::MessageBody> bodies = {
      raft::VoteRequest{true, false, position},
      raft::VoteRequest{false, true, position},
      raft::VoteResponse{true, true},
      raft::AppendResponse{true, Index(3), Index(8), position},
      raft::Heartbeat{Index(5), 11},
      raft::HeartbeatResponse{11},
      raft::TimeoutNow{},
      raft::ReadIndexRequest{21},
      raft::ReadIndexResponse{21, Index(6)},
  };
  for (const auto& body : bodies) {
    const Message sent = Make(body);
    const auto received = RoundTrip(sent);
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(ToString(*received), ToString(sent));
    EXPECT_EQ(received->body.index(), sent.body.index());
  }
}

TEST(PeerCodec, EntriesGetTheirIndexesFromTheirPlace) {
  raft::AppendRequest append{{Index(4), Term(2)}, Index(3), {}};
  append.entries.push_back({Index(5), Term(2), EntryKind::kNoop, nullptr});
  append.entries.push_back({Index(6), Term(3), EntryKind::kCommand,
                            std::make_shared<const std::string>(std::string("a\0b", 3))});
  const auto received = RoundTrip(Make(append));
  ASSERT_TRUE(received.ok()) << received.status();
  const auto& out = std::get<raft::AppendRequest>(received->body);
  EXPECT_EQ(out.previous, append.previous);
  EXPECT_EQ(out.commit, Index(3));
  ASSERT_EQ(out.entries.size(), 2u);
  EXPECT_EQ(out.entries[1].position(), (LogPosition{Index(6), Term(3)}));
  EXPECT_EQ(out.entries[1].kind, EntryKind::kCommand);
  EXPECT_EQ(out.entries[1].bytes(), std::string_view("a\0b", 3));
}

// What tells a restarted follower, and one that lost entries.
TEST(PeerCodec, RunsAndWhatCountsAreCarried) {
  const LogPosition counted{Index(9), Term(4)};
  raft::AppendRequest append{{Index(4), Term(2)}, Index(3), {}, counted, 5};
  auto received = RoundTrip(Make(append));
  EXPECT_EQ(std::get<raft::AppendRequest>(received->body).counted, counted);
  EXPECT_EQ(std::get<raft::AppendRequest>(received->body).heard_run, 5u);
  received = RoundTrip(Make(raft::Heartbeat{Index(3), 1, counted, 6}));
  EXPECT_EQ(std::get<raft::Heartbeat>(received->body).counted, counted);
  EXPECT_EQ(std::get<raft::Heartbeat>(received->body).heard_run, 6u);
  received = RoundTrip(Make(raft::AppendResponse{.match = Index(3), .run = 77}));
  EXPECT_EQ(std::get<raft::AppendResponse>(received->body).run, 77u);
  received = RoundTrip(Make(raft::HeartbeatResponse{1, 77}));
  EXPECT_EQ(std::get<raft::HeartbeatResponse>(received->body).run, 77u);
}

TEST(PeerCodec, WhatNoPeerSendsIsRefused) {
  peer::v1::Frame empty;
  EXPECT_FALSE(DecodeMessage(NodeId(1), NodeId(2), &empty).ok());

  peer::v1::Frame unknown_kind;
  auto* entry = unknown_kind.mutable_append_request()->add_entries();
  entry->set_term(1);
  entry->set_kind(99);
  EXPECT_FALSE(DecodeMessage(NodeId(1), NodeId(2), &unknown_kind).ok());

  peer::v1::Frame falling_terms;
  falling_terms.mutable_append_request()->mutable_previous()->set_term(5);
  falling_terms.mutable_append_request()->add_entries()->set_term(4);
  EXPECT_FALSE(DecodeMessage(NodeId(1), NodeId(2), &falling_terms).ok());
}

TEST(PeerCodec, IndexesDoNotWrap) {
  const auto decode = [](uint64_t previous, int entries) {
    peer::v1::Frame frame;
    auto* append = frame.mutable_append_request();
    append->mutable_previous()->set_index(previous);
    for (int i = 0; i < entries; ++i) append->add_entries()->set_term(1);
    return DecodeMessage(NodeId(1), NodeId(2), &frame).ok();
  };
  EXPECT_TRUE(decode(UINT64_MAX - 2, 2));
  EXPECT_FALSE(decode(UINT64_MAX - 2, 3));
  EXPECT_FALSE(decode(UINT64_MAX, 1));
  EXPECT_TRUE(decode(UINT64_MAX, 0));
}

}  // namespace
}  // namespace raftkv::server
