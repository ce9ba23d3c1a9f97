#include "torture/observer.h"

#include <chrono>
#include <functional>
#include <utility>

#include "rpc.grpc.pb.h"
#include "tools/ctl/call.h"
#include "tools/support/text.h"

namespace raftkv::torture {
namespace {

using etcdserverpb::KV;
using etcdserverpb::Maintenance;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using tools::ctl::Bind;
using tools::ctl::CallResult;
using tools::ctl::Client;
using tools::ctl::Verdict;

constexpr milliseconds kAskEvery{100};

Client MakeClient(const std::vector<std::string>& endpoints, milliseconds timeout) {
  tools::ctl::ClientOptions options;
  options.endpoints = endpoints;
  options.dial_timeout = timeout;
  options.command_timeout = timeout;
  return Client(options, tools::ctl::Clock::Real());
}

// Until `done` says so; its last reason when the time is up.
Status Until(double seconds, const std::function<Status()>& done) {
  const auto deadline = steady_clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    Status status = done();
    if (status.ok() || status.code() == Code::kCorruption) return status;
    if (steady_clock::now() > deadline) return {Code::kDeadlineExceeded, status.message()};
    std::this_thread::sleep_for(kAskEvery);
  }
}

std::string Describe(const std::vector<std::string>& endpoints,
                     const std::vector<uint32_t>& hashes) {
  std::string text;
  for (size_t i = 0; i < hashes.size(); ++i) {
    text += " " + endpoints[i] + "=" + std::to_string(hashes[i]);
  }
  return text;
}

}  // namespace

Observer::Observer(std::vector<std::string> endpoints, std::vector<std::string> names)
    : endpoints_(std::move(endpoints)), names_(std::move(names)) {
  thread_ = std::thread([this] { Run(); });
}

Observer::~Observer() { Stop(); }

void Observer::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void Observer::Run() {
  Client client = MakeClient(endpoints_, milliseconds(300));
  uint64_t newest_term = 0;
  while (!stop_) {
    for (size_t i = 0; i < endpoints_.size() && !stop_; ++i) {
      etcdserverpb::StatusRequest request;
      etcdserverpb::StatusResponse response;
      const CallResult result = client.Probe(
          endpoints_[i], Bind<Maintenance>(&Maintenance::Stub::Status, request, &response));
      if (result.verdict != Verdict::kDone) continue;
      name_of_member_[response.header().member_id()] = names_[i];
      const uint64_t term = response.raftterm();
      const uint64_t leader = response.leader();
      if (leader == 0) continue;
      const auto [known, is_new] = leader_of_term_.emplace(term, leader);
      if (known->second != leader) {
        two_leaders_ = "term " + std::to_string(term) + " has two leaders, " +
                       name_of_member_[known->second] + " and " + name_of_member_[leader];
      }
      if (is_new && term > newest_term) {
        newest_term = term;
        changes_.push_back({NowNs(), name_of_member_[leader], term});
        if (changes_.back().leader.empty()) changes_.back().leader = tools::IdText(leader);
      }
    }
    std::this_thread::sleep_for(kAskEvery);
  }
}

Status WaitUntilAllServe(const std::vector<std::string>& endpoints, double seconds,
                         const std::function<Status()>& watch) {
  Client client = MakeClient(endpoints, milliseconds(3000));
  const auto begin = steady_clock::now();
  for (const std::string& endpoint : endpoints) {
    const std::chrono::duration<double> spent = steady_clock::now() - begin;
    Status watched;
    const Status serves = Until(seconds - spent.count(), [&]() -> Status {
      watched = watch();
      if (!watched.ok()) return Status::Ok();
      etcdserverpb::RangeRequest request;
      request.set_key("torture");
      etcdserverpb::RangeResponse response;
      const CallResult result =
          client.Probe(endpoint, Bind<KV>(&KV::Stub::Range, request, &response));
      if (result.verdict == Verdict::kDone) return Status::Ok();
      return {Code::kUnavailable, endpoint + " does not serve: " + result.error};
    });
    RAFTKV_RETURN_IF_ERROR(watched);
    RAFTKV_RETURN_IF_ERROR(serves);
  }
  return Status::Ok();
}

Status CompareHashes(const std::vector<std::string>& endpoints, double seconds) {
  Client client = MakeClient(endpoints, milliseconds(5000));
  etcdserverpb::RangeRequest range;
  range.set_key("torture");
  etcdserverpb::RangeResponse newest;
  RAFTKV_RETURN_IF_ERROR(Until(seconds, [&]() -> Status {
    const CallResult result = client.Read(Bind<KV>(&KV::Stub::Range, range, &newest));
    return result.verdict == Verdict::kDone ? Status::Ok()
                                            : Status(Code::kUnavailable, result.error);
  }));
  etcdserverpb::HashKVRequest request;
  request.set_revision(newest.header().revision());
  std::vector<uint32_t> hashes;
  for (const std::string& endpoint : endpoints) {
    // One that is behind refuses a revision it does not have yet.
    RAFTKV_RETURN_IF_ERROR(Until(seconds, [&]() -> Status {
      etcdserverpb::HashKVResponse response;
      const CallResult result =
          client.Probe(endpoint, Bind<Maintenance>(&Maintenance::Stub::HashKV, request, &response));
      if (result.verdict != Verdict::kDone) {
        return {Code::kUnavailable, endpoint + " has no hash: " + result.error};
      }
      hashes.push_back(response.hash());
      return Status::Ok();
    }));
  }
  for (const uint32_t hash : hashes) {
    if (hash != hashes[0]) {
      return {Code::kCorruption, "the nodes hold different data at revision " +
                                     std::to_string(request.revision()) + ":" +
                                     Describe(endpoints, hashes)};
    }
  }
  return Status::Ok();
}

}  // namespace raftkv::torture
