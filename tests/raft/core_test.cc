// What scenarios can't say: messages that no well-behaved node would send now, and the edges of the
// interface.
#include "raft/core.h"
#include "common/membership_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "common/rng.h"
#include "raft/sim_node.h"

namespace raftkv::raft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LogPosition Pos(uint64_t index, uint64_t term) { return {Index(index), Term(term)}; }
Entry At(uint64_t index, uint64_t term) { return {Index(index), Term(term), {}, nullptr}; }
Payload Bytes(size_t size) { return std::make_shared<const std::string>(size, 'x'); }

// Node 1 of three; the others are played by the test.
class CoreTest : public testing::Test {
 protected:
  SimNode& Make(std::vector<uint64_t> terms = {}, uint64_t commit = 0, Options options = {}) {
    options.id = NodeId(1);
    Membership membership;
    membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
    SimDisk disk(membership);
    std::vector<Term> strong;
    for (const uint64_t term : terms) strong.push_back(Term(term));
    disk.SetLog({strong.empty() ? Term() : strong.back(), NodeId(), Index(commit)}, {}, strong);
    node_ = std::make_unique<SimNode>(options, std::move(disk));
    node_->Start(Index(), 1);
    return *node_;
  }
  Core& core() { return node_->core(); }

  void Step(uint64_t from, uint64_t term, MessageBody body) {
    core().Step({NodeId(from), NodeId(1), Term(term), std::move(body)});
    core().CheckInvariants();
  }
  // What it sends, now and after syncing all it wants written; the core is told of that.
  std::vector<std::string> Sent() {
    std::vector<std::string> lines;
    const auto add = [&](const std::vector<Message>& messages) {
      for (const Message& message : messages) lines.push_back(ToString(message));
    };
    while (core().HasOutput()) {
      add(node_->Collect().send);
      while (node_->disk().unsynced() > 0) add(node_->SyncNext());
      if (node_->HasSynced()) node_->ReportSynced();
    }
    core().CheckInvariants();
    return lines;
  }
  // Makes it the leader of the next term, with nothing acknowledged yet.
  void Lead() {
    core().Campaign();
    const uint64_t term = core().term().value() + 1;
    Step(2, term, VoteResponse{true, true});
    Sent();
    Step(2, term, VoteResponse{false, true});
    ASSERT_EQ(core().role(), Role::kLeader);
    Sent();
  }

  // The leader's.
  Contact ContactWith(uint64_t peer) {
    for (const PeerStatus& status : core().Peers()) {
      if (status.id == NodeId(peer)) return status.contact;
    }
    ADD_FAILURE() << peer << " is no peer";
    return Contact::kSilent;
  }

  std::unique_ptr<SimNode> node_;
};

TEST_F(CoreTest, CommitsOnlyWhatTheMessageProves) {
  Make({1, 1, 2, 2});
  // The leader of term 3 has other entries after the second, and a commit index beyond.
  Step(2, 3, AppendRequest{Pos(2, 1), Index(4), {}});
  EXPECT_EQ(core().commit(), Index(2));
  EXPECT_THAT(Sent(), ElementsAre("1->2 t3 AppendResponse match=2"));

  // The same with an entry that is there already.
  Make({1, 1, 2, 2});
  Step(2, 3, AppendRequest{Pos(1, 1), Index(4), {At(2, 1)}});
  EXPECT_EQ(core().commit(), Index(2));
  EXPECT_THAT(Sent(), ElementsAre("1->2 t3 AppendResponse match=2"));
}

TEST_F(CoreTest, AppendsBelowTheCommitIndexAreKnownToMatch) {
  Make({1, 1, 2, 2}, /*commit=*/3);
  Step(2, 3, AppendRequest{Pos(1, 1), Index(1), {At(2, 1)}});
  EXPECT_THAT(Sent(), ElementsAre("1->2 t3 AppendResponse match=3"));
  // One that reaches beyond: what comes after the commit index is taken.
  Step(2, 3, AppendRequest{Pos(1, 1), Index(1), {At(2, 1), At(3, 2), At(4, 3)}});
  EXPECT_THAT(Sent(), ElementsAre("1->2 t3 AppendResponse match=4"));
  EXPECT_EQ(core().log().last_position(), Pos(4, 3));
}

TEST_F(CoreTest, TwoAppendsInOneOutputAreAcknowledgedTogether) {
  Make({1});
  Step(2, 1, AppendRequest{Pos(1, 1), Index(0), {At(2, 1)}});
  Step(2, 1, AppendRequest{Pos(2, 1), Index(0), {At(3, 1)}});
  Step(2, 1, AppendRequest{Pos(1, 1), Index(0), {At(2, 1)}});  // late: takes nothing back
  EXPECT_THAT(Sent(), ElementsAre("1->2 t1 AppendResponse match=3"));
}

TEST_F(CoreTest, MalformedMessagesAreIgnored) {
  Make({1, 1});
  const auto ignored = [&](Message message) {
    core().Step(std::move(message));
    core().CheckInvariants();
    EXPECT_FALSE(core().HasOutput());
    EXPECT_EQ(core().term(), Term(1));
  };
  const AppendRequest fine{Pos(2, 1), Index(), {At(3, 5)}};
  ignored({NodeId(2), NodeId(3), Term(5), fine});  // for someone else
  ignored({NodeId(1), NodeId(1), Term(5), fine});  // from itself
  ignored({NodeId(0), NodeId(1), Term(5), fine});
  ignored({NodeId(2), NodeId(1), Term(0), fine});
  ignored({NodeId(2), NodeId(1), Term(5), AppendRequest{Pos(2, 1), Index(), {At(4, 5)}}});
  ignored({NodeId(2), NodeId(1), Term(5), AppendRequest{Pos(2, 1), Index(), {At(3, 0)}}});
  ignored({NodeId(2), NodeId(1), Term(5), AppendRequest{Pos(2, 1), Index(), {At(3, 6)}}});
  ignored({NodeId(2), NodeId(1), Term(5), AppendRequest{Pos(2, 1), Index(), {At(3, 5), At(4, 4)}}});
  ignored({NodeId(2), NodeId(1), Term(5), AppendRequest{Pos(2, 6), Index(), {}}});
}

TEST_F(CoreTest, StrangeAnswersToALeaderAreIgnored) {
  Make();
  Lead();
  Step(2, 1, AppendResponse{false, Index(99), Index(), {}});  // more than there is
  Step(9, 1, AppendResponse{false, Index(1), Index(), {}});   // from a stranger
  Step(9, 1, HeartbeatResponse{7});
  Step(2, 1, HeartbeatResponse{7});  // to a round that never began
  Step(2, 1, VoteResponse{false, true});
  Step(2, 1, VoteResponse{true, true});
  Step(2, 1, ReadIndexResponse{1, Index(1)});
  Step(2, 1, TimeoutNow{});
  EXPECT_EQ(core().role(), Role::kLeader);
  EXPECT_EQ(core().commit(), Index(0));
  EXPECT_THAT(Sent(), IsEmpty());
}

TEST_F(CoreTest, AStrangerIsAnsweredButDoesNotCount) {
  Make({1});
  // It may be a member of a configuration this node has not heard of yet.
  Step(9, 2, VoteRequest{false, false, Pos(1, 1)});
  EXPECT_THAT(Sent(), ElementsAre("1->9 t2 VoteResponse granted"));
  core().Campaign();
  Sent();
  Step(9, 3, VoteResponse{true, true});
  EXPECT_EQ(core().role(), Role::kPreCandidate);
  Step(9, 3, ReadIndexRequest{4});
  EXPECT_THAT(Sent(), testing::Contains("1->9 t3 ReadIndexResponse token=4 refused"));
}

TEST_F(CoreTest, ASnapshotShowsThatThereIsALeader) {
  Make({1});
  Step(2, 2, InstallSnapshot{{Pos(1, 1), Membership{.voters = {NodeId(1)}}, 1}});
  EXPECT_EQ(core().leader(), NodeId(2));
  EXPECT_EQ(core().last_index(), Index(1));
  EXPECT_EQ(core().commit(), Index(1));  // the log holds it: nothing to install
  EXPECT_FALSE(core().installing());
}

TEST_F(CoreTest, AMalformedConfigurationFromTheNetworkIsDropped) {
  Make({1});
  const auto append = [&](const std::string& payload) {
    Step(2, 1,
         AppendRequest{Pos(1, 1),
                       Index(0),
                       {{Index(2), Term(1), EntryKind::kConfig,
                         std::make_shared<const std::string>(payload)}}});
  };
  append("garbage");
  EXPECT_EQ(core().last_index(), Index(1));
  append(EncodeMembership(Membership()));  // nobody could ever commit anything again
  EXPECT_EQ(core().last_index(), Index(1));
  append(EncodeMembership(Membership{.voters = {NodeId(2)}}));
  EXPECT_EQ(core().last_index(), Index(2));
}

TEST_F(CoreTest, ATimeoutNowFromAnyoneElseIsIgnored) {
  Make({1});
  Step(2, 1, Heartbeat{});
  Step(3, 1, TimeoutNow{});
  EXPECT_EQ(core().role(), Role::kFollower);
  Step(2, 1, TimeoutNow{});
  EXPECT_EQ(core().role(), Role::kCandidate);
}

TEST_F(CoreTest, ProposalsAreOneBatch) {
  Make();
  Lead();
  EXPECT_EQ(core().Propose({}).status().code(), Code::kInvalidArgument);
  const std::vector<Payload> payloads{Bytes(1), nullptr, Bytes(3)};
  const auto first = core().Propose(payloads);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*first, Pos(2, 1));
  EXPECT_EQ(core().last_index(), Index(4));
  EXPECT_EQ(core().log().At(Index(3)).kind, EntryKind::kCommand);
  EXPECT_EQ(core().log().At(Index(3)).bytes(), "");
}

TEST_F(CoreTest, ALeaderAppliesWhatIsBothCommittedAndItsOwnDiskHas) {
  Make();
  Lead();
  const std::vector<Payload> payloads{Bytes(1)};
  ASSERT_TRUE(core().Propose(payloads).ok());
  const Output output = node_->Collect();  // not synced
  ASSERT_TRUE(output.append.has_value());
  Step(2, 1, AppendResponse{false, Index(2), Index(), {}});
  Step(3, 1, AppendResponse{false, Index(2), Index(), {}});
  EXPECT_EQ(core().commit(), Index(2));
  const Output after = node_->Collect();
  ASSERT_TRUE(after.apply.has_value());
  EXPECT_EQ(after.apply->entries.back().index, Index(1));  // the no-op, synced by Lead
}

TEST_F(CoreTest, ElectionTimeoutsAreRandomWithinTheirRange) {
  std::set<int> timeouts;
  Options options;
  options.election_ticks = 5;
  options.id = NodeId(1);
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimNode node(options, SimDisk(membership));
    node.Start(Index(), seed);
    int ticks = 0;
    while (node.core().role() == Role::kFollower) {
      node.core().Tick();
      ++ticks;
    }
    timeouts.insert(ticks);
  }
  EXPECT_THAT(timeouts, ElementsAre(5, 6, 7, 8, 9));
}

TEST_F(CoreTest, WhoDoesNotVoteDoesNotCampaign) {
  Options options;
  options.id = NodeId(4);
  Membership membership;
  membership.voters = {NodeId(1), NodeId(2), NodeId(3)};
  membership.learners = {NodeId(4)};
  SimNode node(options, SimDisk(membership));
  node.Start(Index(), 1);
  node.core().Campaign();
  for (int i = 0; i < 100; ++i) node.core().Tick();
  node.core().CheckInvariants();
  EXPECT_EQ(node.core().role(), Role::kFollower);
  EXPECT_FALSE(node.core().HasOutput());
}

TEST_F(CoreTest, SilenceIsKnownAfterAnElectionTimeoutAndNotBefore) {
  Make();
  Lead();
  // It asked them nothing yet: that they are down is not known.
  EXPECT_EQ(ContactWith(2), Contact::kAwaited);
  for (int tick = 1; tick <= 9; ++tick) {
    core().Tick();
    Step(2, 1, HeartbeatResponse{});
    EXPECT_EQ(ContactWith(2), Contact::kHeard);
    EXPECT_EQ(ContactWith(3), Contact::kAwaited);
  }
  core().Tick();
  EXPECT_EQ(ContactWith(2), Contact::kHeard) << "the quorum check forgot it";
  EXPECT_EQ(ContactWith(3), Contact::kSilent);
  for (int tick = 1; tick <= 8; ++tick) core().Tick();
  EXPECT_EQ(ContactWith(2), Contact::kHeard);
  core().Tick();
  EXPECT_EQ(ContactWith(2), Contact::kSilent);
}

// Node 1 leads, with 2 to vote, and 4 learns.
class LearnerTest : public CoreTest {
 protected:
  LearnerTest() {
    Make();
    Lead();
    Step(2, 1, AppendResponse{.match = Index(1)});
    Sent();
    Membership target;
    target.voters = {NodeId(1), NodeId(2)};
    target.learners = {NodeId(4)};
    EXPECT_TRUE(core().ProposeConfig(target).ok());
    Sent();
    Step(2, 1, AppendResponse{.match = Index(2)});
    Sent();
  }

  // A tick in which `writes` are committed, and the learner says that it has all up to `stored`.
  void Pass(int writes, Index stored) {
    core().Tick();
    const std::vector<Payload> payloads(writes, Bytes(1));
    if (writes > 0) {
      EXPECT_TRUE(core().Propose(payloads).ok());
    }
    Sent();
    Step(2, 1, HeartbeatResponse{});
    Step(2, 1, AppendResponse{.match = core().last_index()});
    if (!stored.none()) Step(4, 1, AppendResponse{.match = stored, .run = 1});
    Step(4, 1, HeartbeatResponse{.run = 1});
    Sent();
    lasts_.push_back(core().last_index());
  }
  // What the log ended with so many ticks ago.
  Index Ago(size_t ticks) const {
    return lasts_.size() < ticks ? Index() : lasts_[lasts_.size() - ticks];
  }
  bool CaughtUp() { return core().IsCaughtUp(NodeId(4)); }

  std::vector<Index> lasts_;
};

TEST_F(LearnerTest, HowMuchIsWrittenMeanwhileIsNoMatter) {
  EXPECT_FALSE(CaughtUp());
  // 20,000 in an election timeout of 10 ticks, over a link on which an answer takes 3.
  for (int tick = 0; tick < 8; ++tick) Pass(2000, Ago(3));
  EXPECT_LT(Ago(3) + 3000, core().last_index());
  EXPECT_TRUE(CaughtUp());
}

TEST_F(LearnerTest, ARoundOfAnElectionTimeoutIsTooLong) {
  for (int tick = 0; tick < 100; ++tick) {
    Pass(1, Ago(10));
    EXPECT_FALSE(CaughtUp()) << tick;
  }
  for (int tick = 0; tick < 30; ++tick) Pass(1, Ago(9));
  EXPECT_TRUE(CaughtUp()) << "it got faster";
  for (int tick = 0; tick < 30; ++tick) Pass(1, Ago(10));
  EXPECT_FALSE(CaughtUp()) << "and slow again";
}

TEST_F(LearnerTest, WhoStopsInARoundHasNotCaughtUp) {
  Pass(0, core().last_index());
  EXPECT_TRUE(CaughtUp());
  const Index stored = core().last_index();
  Pass(1, stored);
  for (int tick = 0; tick < 11; ++tick) Pass(0, stored);
  EXPECT_FALSE(CaughtUp()) << "it answers, and stores nothing";
}

TEST_F(LearnerTest, ARoundBeginsWithWhatIsWrittenNotWithTheQuietBefore) {
  Pass(0, core().last_index());
  for (int tick = 0; tick < 100; ++tick) Pass(0, Index());
  Pass(1, Index());
  EXPECT_TRUE(CaughtUp());
  Pass(0, Index());
  Pass(0, core().last_index());
  EXPECT_TRUE(CaughtUp());
}

TEST_F(LearnerTest, WhatARestartLostIsToBeBroughtFirst) {
  Pass(0, core().last_index());
  EXPECT_TRUE(CaughtUp());
  // It has nothing any more, and says so; then it has the first entry.
  Step(4, 1, HeartbeatResponse{.run = 2});
  EXPECT_FALSE(CaughtUp());
  Step(4, 1, AppendResponse{.match = Index(1), .run = 2});
  EXPECT_FALSE(CaughtUp());
}

TEST_F(LearnerTest, WhoFallsSilentHasNotCaughtUp) {
  Pass(0, core().last_index());
  EXPECT_TRUE(CaughtUp());
  for (int tick = 0; tick < 10; ++tick) {
    core().Tick();
    Step(2, 1, HeartbeatResponse{});
  }
  EXPECT_FALSE(CaughtUp());
}

TEST_F(CoreTest, NewsOfACommitCanWaitForTheNextAppend) {
  Make({}, 0, {.defer_commit = true});
  Lead();
  Step(2, 1, AppendResponse{.match = Index(1)});
  EXPECT_EQ(core().commit(), Index(1));
  EXPECT_THAT(Sent(), IsEmpty());
  EXPECT_TRUE(core().OwesCommit());
  // 3 has not answered yet: it is sent nothing that would have to be sent again.
  const std::vector<Payload> one{Bytes(1)};
  ASSERT_TRUE(core().Propose(one).ok());
  EXPECT_THAT(Sent(), ElementsAre(HasSubstr("1->2 t1 Append prev=(1,1) commit=1")));
  EXPECT_FALSE(core().OwesCommit());

  Step(2, 1, AppendResponse{.match = Index(2)});
  EXPECT_THAT(Sent(), IsEmpty());
  core().TellCommit();
  EXPECT_THAT(Sent(), ElementsAre(HasSubstr("1->2 t1 Append prev=(2,1) commit=2")));
  EXPECT_FALSE(core().OwesCommit());
}

TEST_F(CoreTest, AReaderElsewhereIsToldOfTheCommitThatItWaitsFor) {
  Make({}, 0, {.defer_commit = true});
  Lead();
  Step(2, 1, AppendResponse{.match = Index(1)});
  EXPECT_THAT(Sent(), IsEmpty());
  Step(2, 1, ReadIndexRequest{.token = 7});
  Sent();
  Step(2, 1, HeartbeatResponse{.read_round = 1});
  EXPECT_THAT(Sent(), ElementsAre(HasSubstr("ReadIndexResponse token=7"),
                                  HasSubstr("1->2 t1 Append prev=(1,1) commit=1")));
}

TEST_F(CoreTest, RequestsOfDifferentStartsHaveDifferentIds) {
  // Otherwise a late answer to a request from before a crash could be taken for one to a request
  // from after it, and a read be served at too old an index.
  std::set<std::string> requests;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Make({1});
    node_->Start(Index(), seed);
    Step(2, 1, Heartbeat{});
    Sent();
    ASSERT_TRUE(core().ReadIndex().ok());
    requests.insert(Sent().front());
  }
  EXPECT_EQ(requests.size(), 3u);
}

// Every kind of message, with every field random: nothing but a breach of safety may stop a node.
// The messages keep to what any correct past of the cluster could have produced: of terms up to
// the node's or the next, with logs that agree up to the commit index.
TEST_F(CoreTest, AnyMessageIsSurvived) {
  Rng rng(11);
  for (int run = 0; run < 300; ++run) {
    Options options;
    options.election_ticks = 3;
    Make({1, 1, 2}, 0, options);
    for (int step = 0; step < 200; ++step) {
      const uint64_t term = rng.Between(1, core().term().value() + 1);
      const auto position = [&] { return Pos(rng.Below(8), rng.Below(term + 1)); };
      const uint64_t from = rng.Between(1, 4);
      switch (rng.Below(11)) {
        case 0:
          Step(from, term, VoteRequest{rng.Percent(50), rng.Percent(20), position()});
          break;
        case 1:
          Step(from, term, VoteResponse{rng.Percent(50), rng.Percent(50)});
          break;
        case 2:
          Step(from, term,
               AppendResponse{rng.Percent(50), Index(rng.Below(8)), Index(rng.Below(8)),
                              position()});
          break;
        case 3:
          Step(from, term, HeartbeatResponse{rng.Below(4)});
          break;
        case 4:
          Step(from, term, ReadIndexRequest{rng.Below(4)});
          break;
        case 5:
          Step(from, term, ReadIndexResponse{rng.Below(4), Index(rng.Below(8))});
          break;
        case 6:
          Step(from, term, TimeoutNow{});
          break;
        case 7: {
          // From the one leader that a term can have, which the test plays as node 2 or 3.
          const uint64_t leader = 2 + core().term().value() % 2;
          if (core().role() == Role::kLeader || core().leader() == NodeId(5 - leader)) break;
          const LogPosition previous = position();
          if (previous.index < core().commit()) break;
          AppendRequest append{previous, Index(rng.Below(8)), {}};
          for (uint64_t n = rng.Below(3); n > 0; --n) {
            append.entries.push_back(
                At(previous.index.value() + append.entries.size() + 1, core().term().value()));
          }
          Step(leader, core().term().value(), append);
          break;
        }
        case 8:
          core().Tick();
          break;
        case 9: {
          const std::vector<Payload> payloads{Bytes(rng.Below(9))};
          (void)core().Propose(payloads).ok();
          (void)core().ReadIndex().ok();
          (void)core().TransferLeadership(NodeId(rng.Below(5))).ok();
          break;
        }
        case 10:
          Sent();
          if (node_->HasApply()) node_->ApplyNext();
          break;
      }
      core().CheckInvariants();
    }
  }
}

// The leader counts what was acknowledged before a restart until it hears of that. What is here now
// may be something else.
TEST_F(CoreTest, AHeartbeatCommitsOnlyWhatWasComparedSinceTheStart) {
  Make({1, 1, 1});
  Step(2, 2, Heartbeat{Index(3), 0});
  EXPECT_EQ(core().commit(), Index(0));
  Step(2, 2, AppendRequest{Pos(2, 1), Index(), {}});
  Step(2, 2, Heartbeat{Index(3), 0});
  EXPECT_EQ(core().commit(), Index(2));
  Step(3, 3, Heartbeat{Index(3), 0});
  EXPECT_EQ(core().commit(), Index(2));
}

using CoreDeathTest = CoreTest;

TEST_F(CoreDeathTest, TwoLeadersOfOneTermStopTheNode) {
  Make({1});
  Step(2, 2, Heartbeat{});
  EXPECT_DEATH(Step(3, 2, Heartbeat{}), "nodes 2 and 3 both lead term 2");
}

TEST_F(CoreDeathTest, ADifferentCommittedEntryStopsTheNode) {
  Make({1, 1, 2}, /*commit=*/2);
  EXPECT_DEATH(Step(2, 3, AppendRequest{Pos(1, 1), Index(), {At(2, 3)}}),
               "differs from what was committed here");
}

TEST_F(CoreDeathTest, ReportsOfWhatWasNeverAskedForStopTheNode) {
  Make({1});
  EXPECT_DEATH(core().OnAppended(1), "never asked for");
  EXPECT_DEATH(core().OnApplied(Index(1)), "applied unasked");
}

TEST_F(CoreDeathTest, OptionsThatCantWorkAreRefused) {
  Options options;
  options.election_ticks = 1;
  EXPECT_DEATH(Make({}, 0, options), "longer to time out");
  options.election_ticks = 10;
  options.inflight_messages_max = 0;
  EXPECT_DEATH(Make({}, 0, options), "stop replication");
}

}  // namespace
}  // namespace raftkv::raft
