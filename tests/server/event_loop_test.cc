#include "server/event_loop.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "server/peer_node.h"
#include "server/reflection_service.h"
#include "server/transport.h"

namespace raftkv::server {
namespace {

using Clock = EventLoop::Clock;
constexpr auto kPatience = std::chrono::seconds(30);

// Counts turns; the n-th one, from when it is waited for, can be awaited.
struct Turns {
  std::mutex mutex;
  std::condition_variable changed;
  int taken = 0;
  Clock::time_point next = Clock::time_point::max();

  EventLoop::Turn Take() {
    return [this] {
      std::lock_guard lock(mutex);
      ++taken;
      changed.notify_all();
      return next;
    };
  }
  bool WaitFor(int n) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, kPatience, [&] { return taken >= n; });
  }
  int count() {
    std::lock_guard lock(mutex);
    return taken;
  }
};

TEST(EventLoopTest, ATurnFollowsEachWakeFromAnyThread) {
  Turns turns;
  RunningLoop loop;
  loop.get()->SetTurn(turns.Take());
  ASSERT_TRUE(turns.WaitFor(1));
  for (int i = 0; i < 1000; ++i) {
    const int before = turns.count();
    std::thread other([&] { loop.get()->Wake(); });
    ASSERT_TRUE(turns.WaitFor(before + 1)) << i;
    other.join();
  }
}

// What many threads have put somewhere before they woke the loop is seen by some turn.
TEST(EventLoopTest, NoWakeIsLost) {
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  std::atomic<int> put{0};
  std::promise<void> all_seen;
  RunningLoop loop;
  int seen = 0;
  loop.get()->SetTurn([&] {
    seen += put.exchange(0);
    if (seen == kThreads * kEach) all_seen.set_value();
    if (seen >= kThreads * kEach) seen = -1;
    return Clock::time_point::max();
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        put.fetch_add(1);
        loop.get()->Wake();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(all_seen.get_future().wait_for(kPatience), std::future_status::ready);
  loop.get()->SetTurn(nullptr);
}

TEST(EventLoopTest, TurnsAreTakenByTheTimeThatWasAskedFor) {
  Turns turns;
  turns.next = Clock::time_point();  // at once, always
  RunningLoop loop;
  loop.get()->SetTurn(turns.Take());
  EXPECT_TRUE(turns.WaitFor(100));
}

TEST(EventLoopTest, WhatIsDoneAtOnceLeavesTheNextTurnItsTime) {
  RunningLoop loop;
  EXPECT_FALSE(loop.get()->HasTime()) << "not on the loop's thread";
  std::promise<bool> ended;
  int turn = 0;
  bool at_first = true;  // of each turn
  loop.get()->SetTurn([&] {
    if (turn == 10) return Clock::time_point::max();
    at_first = at_first && loop.get()->HasTime();
    const auto until = Clock::now() + kPatience;
    while (loop.get()->HasTime() && Clock::now() < until) {
    }
    if (loop.get()->HasTime() || ++turn == 10) ended.set_value(!loop.get()->HasTime());
    return Clock::time_point();  // the next at once
  });
  EXPECT_TRUE(ended.get_future().get()) << "the time has no end";
  loop.get()->SetTurn(nullptr);
  EXPECT_TRUE(at_first);
}

TEST(EventLoopTest, NoTurnIsTakenAfterItWasRemoved) {
  auto turns = std::make_unique<Turns>();
  turns->next = Clock::time_point();
  RunningLoop loop;
  loop.get()->SetTurn(turns->Take());
  ASSERT_TRUE(turns->WaitFor(1));
  loop.get()->SetTurn(nullptr);
  turns = nullptr;  // a sanitizer would notice
  loop.get()->Wake();
}

TEST(EventLoopTest, OneThatWasNeverStartedStops) {
  EventLoop loop;
  AddQueue(&loop);
  loop.Wake();
  loop.Stop();
  loop.Stop();
}

// A server's shutdown does not wait for the last event of its streams, and gRPC aborts the process
// when a stream then starts another operation on a queue that was shut down.
TEST(EventLoopTest, StopsAmongOpenStreams) {
  for (int round = 0; round < 30; ++round) {
    PeerHandlers handlers;
    handlers.on_batch = [](NodeId, peer::v1::FrameBatch&&) {
      const auto until = Clock::now() + std::chrono::microseconds(200);  // much to do
      while (Clock::now() < until) {
      }
    };
    auto peer = std::make_unique<ListeningPeer>(ClusterId(1), NodeId(2), handlers);
    ASSERT_TRUE(peer->up());
    RunningLoop loop;
    std::vector<std::unique_ptr<Transport>> senders;
    for (uint64_t id = 10; id < 30; ++id) {
      const std::vector<MemberOptions> members = {{"b", NodeId(2), peer->url()}};
      senders.push_back(std::make_unique<Transport>(ClusterId(1), NodeId(id), members, loop.get()));
    }
    for (int i = 0; i < 20; ++i) {
      for (const auto& sender : senders) {
        sender->Send(std::vector<raft::Message>{
            {NodeId(1), NodeId(2), Term(1), raft::Heartbeat{Index(1), 1}}});
      }
    }
    peer = nullptr;
  }
}

TEST(ReflectionServiceTest, AnswersByTheLinkedDescriptors) {
  using grpc::reflection::v1alpha::ServerReflectionRequest;
  const ReflectionService service({"etcdserverpb.KV", "etcdserverpb.Cluster"}, nullptr);
  ServerReflectionRequest request;
  request.set_list_services("*");
  auto answer = service.Answer(request);
  ASSERT_EQ(answer.list_services_response().service_size(), 2);
  EXPECT_EQ(answer.list_services_response().service(0).name(), "etcdserverpb.KV");
  EXPECT_EQ(answer.original_request().list_services(), "*");

  // rpc.proto and what it imports.
  request.set_file_containing_symbol("etcdserverpb.KV");
  answer = service.Answer(request);
  EXPECT_GE(answer.file_descriptor_response().file_descriptor_proto_size(), 2);
  request.set_file_by_filename("rpc.proto");
  EXPECT_EQ(service.Answer(request).file_descriptor_response().file_descriptor_proto(0),
            answer.file_descriptor_response().file_descriptor_proto(0));

  request.set_file_containing_symbol("no.such.Symbol");
  EXPECT_EQ(service.Answer(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.set_all_extension_numbers_of_type("x");
  EXPECT_EQ(service.Answer(request).error_response().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace raftkv::server
