#include "check/random_history.h"

#include <algorithm>
#include <map>

#include "common/rng.h"

namespace raftkv::check {
namespace {

constexpr uint64_t kCallNsMax = 1000;

// The store: does one operation at a time, and fills in its answer.
class Model {
 public:
  void Run(Operation* op) {
    bool holds = true;
    for (const Compare& compare : op->compares) {
      holds = holds && ValueOf(compare.key) == compare.value;
    }
    if (!op->compares.empty()) op->succeeded = holds;
    bool wrote = false;
    for (Step& step : holds ? op->then_steps : op->else_steps) {
      const auto at = keys_.find(step.key);
      if (step.kind == StepKind::kGet) {
        step.known = true;
        step.value = ValueOf(step.key);
        step.mod_revision = at == keys_.end() ? 0 : at->second.second;
      } else if (step.kind == StepKind::kPut) {
        wrote = true;
        keys_[step.key] = {*step.value, revision_ + 1};
      } else {
        step.deleted = at != keys_.end();
        wrote |= *step.deleted;
        keys_.erase(step.key);
      }
    }
    revision_ += wrote;
    op->revision = revision_;
  }

 private:
  Value ValueOf(const std::string& key) const {
    const auto it = keys_.find(key);
    return it == keys_.end() ? Value() : Value(it->second.first);
  }

  std::map<std::string, std::pair<std::string, int64_t>> keys_;
  int64_t revision_ = 1;
};

class Generator {
 public:
  Generator(const RandomOptions& options, uint64_t seed) : options_(options), rng_(seed) {}

  History Run() {
    std::vector<int64_t> free_at(options_.clients, 0);
    std::vector<std::pair<int64_t, size_t>> points;  // when each takes effect
    History history;
    for (size_t i = 0; i < options_.operations; ++i) {
      // The client that is free first, so that all are busy all the time.
      const size_t client =
          static_cast<size_t>(std::min_element(free_at.begin(), free_at.end()) - free_at.begin());
      Operation op = RandomOperation();
      op.client = "c" + std::to_string(client);
      const int64_t pause = Below(1 + kCallNsMax * options_.pause_percent / 100);
      const int64_t length = 1 + Below(kCallNsMax);
      op.invoke_ns = free_at[client] + pause;
      const int64_t end = op.invoke_ns + length;
      free_at[client] = end + 1;
      if (rng_.Percent(options_.unknown_percent)) {
        const int64_t late = rng_.Percent(20) ? Below(100 * kCallNsMax) : Below(length + 1);
        if (rng_.Percent(50)) points.push_back({op.invoke_ns + late, i});
      } else if (rng_.Percent(options_.fail_percent)) {
        op.outcome = Outcome::kFail;
      } else {
        op.outcome = Outcome::kOk;
        op.return_ns = end;
        points.push_back({op.invoke_ns + Below(length + 1), i});
      }
      history.push_back(std::move(op));
    }
    std::sort(points.begin(), points.end());
    Model model;
    for (const auto& [time, i] : points) {
      Operation answered = history[i];
      model.Run(&answered);
      if (answered.outcome == Outcome::kOk) history[i] = std::move(answered);
    }
    if (!options_.counted_deletes) {
      for (Operation& op : history) {
        for (Step& step : op.then_steps) step.deleted.reset();
      }
    }
    return history;
  }

 private:
  int64_t Below(uint64_t n) { return static_cast<int64_t>(rng_.Below(n)); }
  std::string RandomKey() { return "k" + std::to_string(rng_.Below(options_.keys)); }
  std::string RandomValue() {
    return "v" + std::to_string(options_.values == 0 ? ++written_ : rng_.Below(options_.values));
  }
  // For a compare: mostly one that may well be there.
  Value SomeValue() {
    if (rng_.Percent(20)) return std::nullopt;
    if (options_.values != 0) return RandomValue();
    return "v" + std::to_string(written_ - rng_.Below(std::min<uint64_t>(written_ + 1, 4)));
  }

  Step RandomStep(const std::string& key) {
    switch (rng_.Below(3)) {
      case 0:
        return {StepKind::kPut, key, RandomValue()};
      case 1:
        return {StepKind::kGet, key};
      default:
        return {StepKind::kDelete, key};
    }
  }

  Operation RandomOperation() {
    Operation op;
    const std::string key = RandomKey();
    uint64_t dice = rng_.Below(100);
    const auto is = [&dice](unsigned percent) {
      const bool yes = dice < percent;
      dice -= percent;  // wraps around only once it no longer matters
      return yes;
    };
    if (is(options_.get_percent)) {
      op.kind = "get";
      op.then_steps = {{StepKind::kGet, key}};
    } else if (is(options_.delete_percent)) {
      op.kind = "delete";
      op.then_steps = {{StepKind::kDelete, key}};
    } else if (is(options_.cas_percent)) {
      op.kind = "cas";
      op.compares = {{key, SomeValue()}};
      op.then_steps = {{StepKind::kPut, key, RandomValue()}};
    } else if (is(options_.txn_percent)) {
      op.kind = "txn";
      op.compares = {{key, SomeValue()}};
      op.then_steps = {RandomStep(RandomKey()), RandomStep(RandomKey())};
      op.else_steps = {RandomStep(RandomKey())};
    } else if (is(options_.range_percent)) {
      op.kind = "txn";
      for (size_t i = 0; i < options_.keys; ++i) {
        op.then_steps.push_back({StepKind::kGet, "k" + std::to_string(i)});
      }
    } else {
      op.kind = "put";
      op.then_steps = {{StepKind::kPut, key, RandomValue()}};
    }
    return op;
  }

  const RandomOptions options_;
  Rng rng_;
  uint64_t written_ = 0;
};

}  // namespace

History RandomHistory(const RandomOptions& options, uint64_t seed) {
  return Generator(options, seed).Run();
}

}  // namespace raftkv::check
