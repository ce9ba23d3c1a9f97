// The store against the reference model, under random requests, batch splits, compaction steps,
// flushes, restarts and crashes.
//
// RAFTKV_SEED=N runs one seed; RAFTKV_SEEDS=N runs that many.
#include <gtest/gtest.h>

#include <cstdlib>

#include "store/mvcc.h"
#include "store/random_requests.h"
#include "store/reference_model.h"
#include "store/store_harness.h"

namespace raftkv::store {
namespace {

// Room for the newest versions of four keys: nearly every write finds others' in the place.
EngineOptions LittleMemory(EngineOptions options) {
  options.block_cache_bytes = 8 * 512;
  return options;
}

std::string Text(const ApplyResult& result) {
  std::string text = result.status.ToString() + (result.from_session ? " again " : " ");
  std::visit(
      [&text](const auto& response) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(response)>, std::monostate>) {
          text += response.ShortDebugString();
        }
      },
      result.response);
  return text;
}

std::string Text(const StatusOr<etcdserverpb::RangeResponse>& response) {
  return response.ok() ? response->ShortDebugString() : response.status().ToString();
}

class ModelRun {
 public:
  explicit ModelRun(uint64_t seed)
      : requests_(seed), rng_(seed * 31 + 7), node_(seed % 2 == 0 ? LittleMemory : nullptr) {}

  void Run(int steps) {
    SetSessionLimits({.sessions_max = 4, .ttl_ms = 5'000});
    for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) {
      Write();
      for (int i = 0; i < 4; ++i) Read();
      Disturb();
    }
    CheckEverything();
    node_.CompactAll(1 + rng_.Below(20));
    CheckEverything();
    CheckLeftovers();
    ASSERT_GT(answered_in_memory_, 0);
  }

  // The log that was made, applied to another store in other batches, with compaction at other
  // times, restarts and crashes, and others waiting for answers: what is stored must be the same,
  // byte for byte.
  void CheckSameLogSameState() {
    TestNode other;
    for (const Entry& entry : node_.log()) {
      const auto command = DecodeCommand(entry.bytes());
      ASSERT_TRUE(command.ok());
      AppendRaw(entry, *command, &other);
    }
    std::vector<ApplyResult> ignored;
    while (other.store().applied().position.index.value() < other.last_index()) {
      const uint64_t from = other.store().applied().position.index.value();
      const uint64_t size = std::min(rng_.Between(1, 60), other.last_index() - from);
      std::vector<bool> awaited;
      for (uint64_t i = 0; i < size; ++i) awaited.push_back(rng_.Percent(50));
      other.store().Apply(std::span(other.log()).subspan(from, size), awaited, &ignored);
      if (rng_.Percent(20)) other.store().CompactStep(rng_.Between(1, 50));
      if (rng_.Percent(3)) {
        ASSERT_TRUE(other.engine().FlushKv().ok());
      }
      if (rng_.Percent(1)) other.Crash();
    }
    node_.CompactAll();
    other.CompactAll();
    ASSERT_EQ(node_.LogicalContent(), other.LogicalContent());
  }

 private:
  static void AppendRaw(const Entry& entry, const Command& command, TestNode* node) {
    if (command.type == CommandType::kSessionLimits) {
      node->AppendSessionLimits(DecodeSessionLimits(command.body).value());
    }
    auto parse = [&](auto request) {
      ASSERT_TRUE(
          request.ParseFromArray(command.body.data(), static_cast<int>(command.body.size())));
      node->Append(command.type, request, command.session, command.time_ms);
    };
    if (command.type == CommandType::kPut) parse(etcdserverpb::PutRequest());
    if (command.type == CommandType::kDeleteRange) parse(etcdserverpb::DeleteRangeRequest());
    if (command.type == CommandType::kTxn) parse(etcdserverpb::TxnRequest());
    if (command.type == CommandType::kCompact) parse(etcdserverpb::CompactionRequest());
    ASSERT_EQ(node->log().back().bytes(), entry.bytes());
  }

  // Applied with the next writes.
  void SetSessionLimits(const SessionLimits& limits) {
    node_.AppendSessionLimits(limits);
    model_.SetSessionLimits(limits);
    answers_.push_back(Text(ApplyResult{}));
    asked_.push_back("session limits");
  }

  void Write() {
    const size_t from = node_.store().applied().position.index.value();
    if (rng_.Percent(5)) {
      SetSessionLimits({.sessions_max = rng_.Below(8), .ttl_ms = rng_.Below(15'000)});
    }
    for (uint64_t i = rng_.Between(1, 12); i > 0; --i) {
      const RandomCommand command = requests_.Next(model_.revision(), model_.compact_revision());
      node_.Append(command.type, *command.request, command.session, command.time_ms);
      const ApplyResult result =
          model_.Apply(command.type, *command.request, command.session, command.time_ms);
      answers_.push_back(Text(result));
      asked_.push_back(std::string(CommandTypeName(command.type)) + " " + command.session.client +
                       " " + std::to_string(command.session.sequence) + ": " +
                       command.request->ShortDebugString());
    }
    CheckAnswers(from, node_.ApplyPending(rng_.Percent(50) ? 0 : 3));
    const AppliedRecord applied = node_.store().applied();
    ASSERT_EQ(applied.revision, model_.revision());
    ASSERT_EQ(applied.compact_revision, model_.compact_revision());
    ASSERT_EQ(applied.sessions, model_.sessions());
    ASSERT_EQ(applied.time_ms, model_.time_ms());
    ASSERT_EQ(applied.position.index.value(), node_.last_index());
  }

  // `results` are of the entries from `from` on, which is also where their answers are.
  void CheckAnswers(size_t from, const std::vector<ApplyResult>& results) {
    ASSERT_EQ(from + results.size(), answers_.size());
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(Text(results[i]), answers_[from + i])
          << "entry " << from + i + 1 << ": " << asked_[from + i];
    }
  }

  void Read() {
    const auto request = requests_.Range(model_.revision(), model_.compact_revision());
    ASSERT_EQ(Text(node_.store().Range(request)), Text(model_.Range(request)))
        << request.ShortDebugString();
    if (!request.range_end().empty()) return;
    if (const auto in_memory = node_.store().GetInMemory(request)) {
      ++answered_in_memory_;
      ASSERT_EQ(Text(*in_memory), Text(model_.Range(request))) << request.ShortDebugString();
    }
  }

  void Disturb() {
    if (rng_.Percent(30)) node_.store().CompactStep(rng_.Between(1, 10));
    if (rng_.Percent(3)) {
      ASSERT_TRUE(node_.engine().FlushKv().ok());
    }
    if (rng_.Percent(1)) Restart();
    if (rng_.Percent(1)) Crash();
  }

  void Restart() {
    const AppliedRecord before = node_.store().applied();
    node_.Restart();
    ASSERT_EQ(node_.store().applied(), before);
  }

  void Crash() {
    const auto before = node_.LogicalContent();
    const AppliedRecord durable = node_.store().DurableApplied().value();
    node_.Crash();
    ASSERT_EQ(node_.store().applied(), durable);
    CheckAnswers(durable.position.index.value(), node_.ApplyPending(rng_.Between(1, 30)));
    // Compaction is local and may have got further before; what it made unreachable apart, all is
    // the same.
    for (const auto& [key, value] : node_.LogicalContent()) {
      auto it = before.find(key);
      if (it != before.end()) {
        ASSERT_EQ(it->second, value) << Printable(key);
      }
    }
    CheckEverything();
  }

  // All of the history that may be read.
  void CheckEverything() {
    etcdserverpb::RangeRequest request;
    request.set_key(std::string(1, '\0'));
    request.set_range_end(std::string(1, '\0'));
    for (int64_t at = std::max<int64_t>(model_.compact_revision() - 1, 1);
         at <= model_.revision() + 1; ++at) {
      request.set_revision(at);
      ASSERT_EQ(Text(node_.store().Range(request)), Text(model_.Range(request))) << "at " << at;
    }
  }

  void CheckLeftovers() {
    ASSERT_EQ(node_.CountKind(kDataKind), model_.VersionsLeft());
    ASSERT_EQ(node_.CountKind(kRevisionKind), model_.VersionsLeft());
    ASSERT_EQ(node_.CountKind(kSessionKind), model_.sessions());
    ASSERT_EQ(node_.CountKind(kSessionTimeKind), model_.sessions());
  }

  RandomRequests requests_;
  Rng rng_;
  ReferenceModel model_;
  TestNode node_;
  int answered_in_memory_ = 0;
  // Of each entry of the log: what was asked and what the model answered.
  std::vector<std::string> asked_;
  std::vector<std::string> answers_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::stoull(value) : otherwise;
}

TEST(Model, RandomRequestsAnswerAsTheModelDoes) {
  const uint64_t only = FromEnvironment("RAFTKV_SEED", 0);
  const uint64_t seeds = FromEnvironment("RAFTKV_SEEDS", 25);
  for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); ++seed) {
    SCOPED_TRACE("replay: RAFTKV_SEED=" + std::to_string(seed) +
                 " store_model_test --gtest_filter=Model.*");
    ModelRun run(seed);
    run.Run(300);
    if (!HasFailure()) run.CheckSameLogSameState();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace raftkv::store
