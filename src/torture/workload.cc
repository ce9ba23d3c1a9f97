#include "torture/workload.h"

#include <algorithm>
#include <map>
#include <utility>

#include "rpc.grpc.pb.h"
#include "tools/ctl/call.h"
#include "torture/answers.h"

namespace raftkv::torture {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::KV;
using std::chrono::milliseconds;
using tools::ctl::Bind;
using tools::ctl::CallResult;
using tools::ctl::Client;
using tools::ctl::Verdict;

constexpr int kClientsOfAKeyMax = 10;
constexpr uint64_t kOperationsOfAnEpoch = 3000;
constexpr milliseconds kCallTimeout{1500};     // of a client that tries once
constexpr milliseconds kSessionTimeout{6000};  // of one that tries again
constexpr milliseconds kFinalTimeout{20'000};
constexpr char kNoSession[] = "the session does not exist";

check::Step PutStep(const std::string& key, std::string value) {
  check::Step step;
  step.kind = check::StepKind::kPut;
  step.key = key;
  step.value = std::move(value);
  return step;
}

check::Step GetStep(const std::string& key) {
  check::Step step;
  step.key = key;
  return step;
}

// Fills in what a range of one key answered.
void SetResult(const etcdserverpb::RangeResponse& response, check::Step* step) {
  step->known = true;
  step->value.reset();
  if (response.kvs_size() == 0) return;
  step->value = response.kvs(0).value();
  step->mod_revision = response.kvs(0).mod_revision();
}

}  // namespace

std::string PrefixEnd(std::string prefix) {
  ++prefix.back();  // it ends in a slash
  return prefix;
}

// One client's thread.
class Workload::Worker {
 public:
  Worker(Workload* workload, int number, size_t group)
      : w_(workload),
        group_(group),
        name_(ClientName(number)),
        in_session_(number % 2 == 1),
        rng_(workload->options_.seed * 1000003 + static_cast<uint64_t>(number)),
        client_(NewClient()) {}

  void Step() {
    Group& group = *w_->groups_[group_];
    const uint64_t epoch = group.operations.fetch_add(1) / kOperationsOfAnEpoch;
    if (epoch != epoch_) seen_.clear();
    epoch_ = epoch;
    prefix_ = w_->Prefix(group_, epoch);
    const auto pick = [&] {
      return prefix_ + "k" + std::to_string(rng_.Below(static_cast<uint64_t>(group.keys)));
    };
    const uint64_t draw = rng_.Below(100);
    if (draw < 30) return Put(pick());
    if (draw < 55) return Get(pick());
    if (draw < 63) return Delete(pick());
    if (draw < 80) return Swap(pick());
    if (draw < 90) return Txn(pick(), pick());
    return Range(prefix_);
  }

  void Range(const std::string& prefix) {
    check::Operation op = Begin("range");
    op.then_steps.push_back(GetStep(prefix));
    op.range_end = PrefixEnd(prefix);
    etcdserverpb::RangeRequest request;
    request.set_key(prefix);
    request.set_range_end(*op.range_end);
    etcdserverpb::RangeResponse response;
    const CallResult result =
        client_->Probe(PickEndpoint(), Bind<KV>(&KV::Stub::Range, request, &response));
    End(result, response.header().revision(), &op, [&] {
      Look(request, response);
      for (const auto& kv : response.kvs()) {
        check::Step step = GetStep(kv.key());
        step.known = true;
        step.value = kv.value();
        step.mod_revision = kv.mod_revision();
        op.then_steps.push_back(std::move(step));
      }
      op.succeeded = true;
    });
    last_failed_ = result.verdict != Verdict::kDone;
  }

  bool last_failed() const { return last_failed_; }
  void set_endpoint(const std::string& endpoint) { endpoint_ = endpoint; }
  Rng& rng() { return rng_; }

 private:
  tools::ctl::ClientOptions ClientOptions() {
    tools::ctl::ClientOptions options;
    options.endpoints = w_->endpoints_;
    std::rotate(options.endpoints.begin(),
                options.endpoints.begin() + static_cast<long>(rng_.Below(options.endpoints.size())),
                options.endpoints.end());
    options.dial_timeout = milliseconds(500);
    options.command_timeout = in_session_ ? kSessionTimeout : kCallTimeout;
    return options;
  }

  std::unique_ptr<Client> NewClient() {
    return std::make_unique<Client>(ClientOptions(), tools::ctl::Clock::Real());
  }

  const std::string& PickEndpoint() {
    if (endpoint_.empty()) return w_->endpoints_[rng_.Below(w_->endpoints_.size())];
    return endpoint_;
  }

  check::Operation Begin(const char* kind) {
    check::Operation op;
    op.kind = kind;
    op.client = name_;
    op.invoke_ns = NowNs();
    return op;
  }

  template <typename Fill>
  void End(const CallResult& result, int64_t revision, check::Operation* op, const Fill& fill) {
    const int64_t end = NowNs();
    if (result.verdict == Verdict::kDone) {
      op->outcome = check::Outcome::kOk;
      op->return_ns = end;
      op->revision = revision;
      fill();
    } else {
      const bool failed = result.verdict == Verdict::kFailed;
      op->outcome = failed ? check::Outcome::kFail : check::Outcome::kUnknown;
    }
    w_->recorder_->Add(std::move(*op), end, result.error);
    // A node that is down refuses in microseconds: don't spin on it.
    if (result.verdict != Verdict::kDone) {
      std::this_thread::sleep_for(milliseconds(rng_.Between(5, 40)));
    }
  }

  // What the checker can't see is a problem at once.
  template <typename Request, typename Response>
  void Look(const Request& request, const Response& response) {
    const std::string wrong = WrongWith(request, response);
    if (wrong.empty()) return;
    w_->recorder_->AddMalformed(name_ + " got a malformed answer: " + wrong + "; to " +
                                request.ShortDebugString() + " came " +
                                response.ShortDebugString());
  }

  // A write: once, or again and again in a session that makes it one.
  CallResult Send(const Client::Rpc& rpc) {
    if (!in_session_) return client_->Once(PickEndpoint(), rpc);
    CallResult result = client_->Write(rpc);
    // The session's first write got no answer and was not carried out: the next is refused.
    if (result.error.find(kNoSession) != std::string::npos) client_ = NewClient();
    return result;
  }

  std::string NewValue() { return name_ + "-" + std::to_string(++values_); }

  void Put(const std::string& key) {
    check::Operation op = Begin("put");
    op.then_steps.push_back(PutStep(key, NewValue()));
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(*op.then_steps[0].value);
    etcdserverpb::PutResponse response;
    const CallResult result = Send(Bind<KV>(&KV::Stub::Put, request, &response));
    End(result, response.header().revision(), &op, [&] { seen_[key] = op.then_steps[0].value; });
  }

  void Get(const std::string& key) {
    check::Operation op = Begin("get");
    op.then_steps.push_back(GetStep(key));
    etcdserverpb::RangeRequest request;
    request.set_key(key);
    etcdserverpb::RangeResponse response;
    const CallResult result =
        client_->Probe(PickEndpoint(), Bind<KV>(&KV::Stub::Range, request, &response));
    End(result, response.header().revision(), &op, [&] {
      Look(request, response);
      SetResult(response, &op.then_steps[0]);
      seen_[key] = op.then_steps[0].value;
    });
  }

  void Delete(const std::string& key) {
    check::Operation op = Begin("delete");
    op.then_steps.push_back(GetStep(key));
    op.then_steps[0].kind = check::StepKind::kDelete;
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(key);
    etcdserverpb::DeleteRangeResponse response;
    const CallResult result = Send(Bind<KV>(&KV::Stub::DeleteRange, request, &response));
    End(result, response.header().revision(), &op, [&] {
      Look(request, response);
      op.then_steps[0].deleted = response.deleted() > 0;
      seen_[key].reset();
    });
  }

  // The compare of a transaction: the key is as this client last saw it.
  void AddCompare(const std::string& key, etcdserverpb::TxnRequest* request, check::Operation* op) {
    const check::Value expected = seen_[key];
    op->compares.push_back({key, expected});
    Compare* compare = request->add_compare();
    compare->set_key(key);
    compare->set_result(Compare::EQUAL);
    if (expected) {
      compare->set_target(Compare::VALUE);
      compare->set_value(*expected);
    } else {
      compare->set_target(Compare::VERSION);
      compare->set_version(0);
    }
  }

  static void AddPut(const check::Step& step, etcdserverpb::TxnRequest* request) {
    auto* put = request->add_success()->mutable_request_put();
    put->set_key(step.key);
    put->set_value(*step.value);
  }

  void Swap(const std::string& key) {
    check::Operation op = Begin("cas");
    etcdserverpb::TxnRequest request;
    AddCompare(key, &request, &op);
    op.then_steps.push_back(PutStep(key, NewValue()));
    AddPut(op.then_steps[0], &request);
    etcdserverpb::TxnResponse response;
    const CallResult result = Send(Bind<KV>(&KV::Stub::Txn, request, &response));
    End(result, response.header().revision(), &op, [&] {
      Look(request, response);
      op.succeeded = response.succeeded();
      if (*op.succeeded) seen_[key] = op.then_steps[0].value;
    });
  }

  // If the key is as it was seen last: puts it and another one; else reads it.
  void Txn(const std::string& key, const std::string& other) {
    check::Operation op = Begin("txn");
    etcdserverpb::TxnRequest request;
    AddCompare(key, &request, &op);
    op.then_steps.push_back(PutStep(key, NewValue()));
    if (other != key) op.then_steps.push_back(PutStep(other, NewValue()));
    for (const check::Step& step : op.then_steps) AddPut(step, &request);
    op.else_steps.push_back(GetStep(key));
    request.add_failure()->mutable_request_range()->set_key(key);
    etcdserverpb::TxnResponse response;
    const CallResult result = Send(Bind<KV>(&KV::Stub::Txn, request, &response));
    End(result, response.header().revision(), &op, [&] {
      Look(request, response);
      op.succeeded = response.succeeded();
      if (*op.succeeded) {
        for (const check::Step& step : op.then_steps) seen_[step.key] = step.value;
      } else if (response.responses_size() == 1) {
        SetResult(response.responses(0).response_range(), &op.else_steps[0]);
        seen_[key] = op.else_steps[0].value;
      }
    });
  }

  Workload* const w_;
  const size_t group_;
  const std::string name_;
  const bool in_session_;
  Rng rng_;
  std::unique_ptr<Client> client_;
  uint64_t epoch_ = 0;
  uint64_t values_ = 0;
  std::string prefix_;
  std::string endpoint_;  // empty: any
  std::map<std::string, check::Value> seen_;
  bool last_failed_ = false;
};

Workload::Workload(const Options& options, std::vector<std::string> endpoints, Recorder* recorder)
    : options_(options),
      endpoints_(std::move(endpoints)),
      recorder_(recorder),
      run_(options.endpoints.empty() ? "" : tools::ctl::NewClientId() + "/") {
  const int groups = (options.clients + kClientsOfAKeyMax - 1) / kClientsOfAKeyMax;
  for (int i = 0; i < groups; ++i) {
    groups_.push_back(std::make_unique<Group>());
    groups_.back()->keys = options.keys / groups + (i < options.keys % groups ? 1 : 0);
  }
}

Workload::~Workload() { Stop(); }

std::string Workload::Prefix(size_t group, uint64_t epoch) const {
  return "torture/" + run_ + "g" + std::to_string(group) + "/e" + std::to_string(epoch) + "/";
}

void Workload::Start() {
  for (int i = 0; i < options_.clients; ++i) threads_.emplace_back([this, i] { Run(i); });
}

void Workload::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Workload::Run(int number) {
  Worker worker(this, number, static_cast<size_t>(number) % groups_.size());
  const auto pause = std::chrono::microseconds(1'000'000LL * options_.clients / options_.rate);
  auto next = std::chrono::steady_clock::now();
  while (!stop_) {
    worker.Step();
    // At the rate that was asked for, but without making up for what was slow.
    next = std::max(next + pause, std::chrono::steady_clock::now());
    std::this_thread::sleep_until(next);
  }
}

Status Workload::ReadAll() {
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    Worker reader(this, options_.clients + static_cast<int>(i), 0);
    reader.set_endpoint(endpoints_[i]);
    for (size_t group = 0; group < groups_.size(); ++group) {
      const uint64_t epochs = groups_[group]->operations / kOperationsOfAnEpoch + 1;
      for (uint64_t epoch = 0; epoch < epochs; ++epoch) {
        const auto deadline = std::chrono::steady_clock::now() + kFinalTimeout;
        do {
          reader.Range(Prefix(group, epoch));
        } while (reader.last_failed() && std::chrono::steady_clock::now() < deadline);
        if (reader.last_failed()) {
          return {Code::kUnavailable, "the last reads at " + endpoints_[i] + " got no answer"};
        }
      }
    }
  }
  return Status::Ok();
}

}  // namespace raftkv::torture
