#include "check/shrink.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "check/search.h"

namespace raftkv::check {
namespace {

using Clock = std::chrono::steady_clock;

// One attempt may take this long: what can't be decided quickly is not tried to be left out.
constexpr std::chrono::milliseconds kAttemptMax{2000};
constexpr uint64_t kAttemptMemoryBytes = 256 << 20;

template <typename Visit>
void ForEachStep(Operation* op, const Visit& visit) {
  for (auto* steps : {&op->then_steps, &op->else_steps}) {
    for (Step& step : *steps) visit(&step);
  }
}

// As if the answer had not come.
void ForgetAnswer(Operation* op) {
  op->outcome = Outcome::kUnknown;
  op->return_ns = kNever;
  op->succeeded.reset();
  ForEachStep(op, [](Step* step) {
    step->known = false;
    step->deleted.reset();
  });
}

// What was known at `now_ns`.
History KnownAt(const History& history, int64_t now_ns) {
  History known = history;
  for (Operation& op : known) {
    if (op.outcome == Outcome::kOk && op.return_ns > now_ns) ForgetAnswer(&op);
  }
  std::erase_if(known, [now_ns](const Operation& op) { return op.invoke_ns > now_ns; });
  return known;
}

// For certain.
bool Illegal(const std::vector<const Operation*>& ops, uint64_t seed, Clock::time_point deadline) {
  const SearchLimits limits{std::min(deadline, Clock::now() + kAttemptMax), kAttemptMemoryBytes};
  const Problem problem = MakeProblem(ops, Unseen::kKeepWhereItMatters, limits.deadline);
  return Search(problem, limits, seed).verdict == Verdict::kIllegal;
}

bool Illegal(const History& history, uint64_t seed, Clock::time_point deadline) {
  std::vector<const Operation*> ops;
  for (const Operation& op : history) ops.push_back(&op);
  return Illegal(ops, seed, deadline);
}

// By whom what is not to be left out is needed.
//
// To leave a write out keeps a good history good when none that stays saw the value, and none that
// stays says that the key did *not* have some value: this write may have been why. It was not if
// another one that stays came between the two for certain.
class Needs {
 public:
  // `stays` says which operations of `history` are still there.
  Needs(const History& history, const std::vector<bool>& stays) {
    for (size_t i = 0; i < history.size(); ++i) {
      if (stays[i] && history[i].outcome != Outcome::kFail) Observe(history[i]);
    }
    for (size_t i = 0; i < history.size(); ++i) {
      if (stays[i] && history[i].outcome == Outcome::kOk) Cover(history[i]);
    }
  }

  bool IsNeeded(const Operation& op) const {
    const std::vector<Step>* taken = op.taken();
    for (const auto* steps : {&op.then_steps, &op.else_steps}) {
      if (op.outcome == Outcome::kOk && taken != nullptr && steps != taken) continue;
      for (const Step& step : *steps) {
        if (step.kind != StepKind::kGet && IsNeeded(op, step)) return true;
      }
    }
    return false;
  }

 private:
  struct Key {
    std::map<Value, int> seen;
    int64_t first_otherwise_ns = kNever;  // when it was first asked what it does not hold
    int64_t covered_ns = -1;              // what returned before is overwritten by then
  };

  bool IsNeeded(const Operation& op, const Step& step) const {
    const auto key = keys_.find(step.key);
    if (key == keys_.end()) return false;
    if (key->second.seen.contains(step.value)) return true;
    return key->second.first_otherwise_ns != kNever && op.return_ns >= key->second.covered_ns;
  }

  void Observe(const Operation& op) {
    const auto otherwise = [&](const std::string& key) {
      keys_[key].first_otherwise_ns = std::min(keys_[key].first_otherwise_ns, op.invoke_ns);
    };
    for (const Compare& compare : op.compares) {
      // Without an answer it took effect on one of its sides, if at all.
      if (op.succeeded != false) ++keys_[compare.key].seen[compare.value];
      if (op.succeeded == false || (!op.succeeded && !op.else_steps.empty())) {
        otherwise(compare.key);
      }
    }
    for (const auto* steps : {&op.then_steps, &op.else_steps}) {
      for (const Step& step : *steps) {
        if (step.kind == StepKind::kGet && step.known) ++keys_[step.key].seen[step.value];
        if (step.deleted == false) ++keys_[step.key].seen[std::nullopt];
        if (step.deleted == true) otherwise(step.key);
      }
    }
  }

  // A write that is over before the first such question hides those that were over before it.
  void Cover(const Operation& op) {
    const std::vector<Step>* taken = op.taken();
    if (taken == nullptr) return;
    for (const Step& step : *taken) {
      if (step.kind == StepKind::kGet) continue;
      Key& key = keys_[step.key];
      if (op.return_ns < key.first_otherwise_ns) {
        key.covered_ns = std::max(key.covered_ns, op.invoke_ns);
      }
    }
  }

  std::map<std::string, Key> keys_;
};

class Shrinker {
 public:
  Shrinker(History history, uint64_t seed, Clock::time_point deadline)
      : history_(std::move(history)),
        stays_(history_.size(), true),
        seed_(seed),
        deadline_(deadline) {}

  // Leaves out what it can, and returns what stays.
  std::vector<bool> Run() {
    ForgetCounts();
    // Runs of operations, of half the length each time; single ones until none can go.
    for (size_t run = std::max<size_t>(1, history_.size() / 2); !TimeIsUp();) {
      bool smaller = false;
      for (size_t end = history_.size(); end > 0 && !TimeIsUp();) {
        const size_t begin = end - std::min(run, end);
        smaller |= LeaveOut(begin, end);
        end = begin;
      }
      if (run == 1 && !smaller) break;
      run = std::max<size_t>(1, run / 2);
    }
    return stays_;
  }

 private:
  bool TimeIsUp() const { return Clock::now() >= deadline_; }

  // That a delete found something ties it to every write before it. Mostly it does not matter.
  void ForgetCounts() {
    History without = history_;
    for (Operation& op : without) {
      ForEachStep(&op, [](Step* step) {
        if (step->deleted == true) step->deleted.reset();
      });
    }
    if (Illegal(without, seed_, deadline_)) history_ = std::move(without);
  }

  // Those from `begin` to `end` that none of the others needs.
  bool LeaveOut(size_t begin, size_t end) {
    const auto at = [this](size_t i) { return stays_.begin() + static_cast<std::ptrdiff_t>(i); };
    if (std::find(at(begin), at(end), true) == at(end)) return false;
    std::vector<bool> stays = stays_;
    for (size_t i = begin; i < end; ++i) stays[i] = false;
    for (bool changed = true; changed;) {
      if (TimeIsUp()) return false;
      changed = false;
      const Needs needs(history_, stays);
      for (size_t i = begin; i < end; ++i) {
        if (stays[i] || !stays_[i] || !needs.IsNeeded(history_[i])) continue;
        stays[i] = changed = true;
      }
    }
    if (stays == stays_) return false;
    std::vector<const Operation*> ops;
    for (size_t i = 0; i < history_.size(); ++i) {
      if (stays[i]) ops.push_back(&history_[i]);
    }
    if (!Illegal(ops, seed_, deadline_)) return false;
    stays_ = std::move(stays);
    return true;
  }

  History history_;
  std::vector<bool> stays_;
  const uint64_t seed_;
  const Clock::time_point deadline_;
};

}  // namespace

std::vector<size_t> Shrink(const History& history, const std::vector<size_t>& ops, uint64_t seed,
                           Clock::time_point deadline) {
  History part;
  for (const size_t i : ops) {
    part.push_back(history[i]);
    part.back().line = i;  // where it came from
  }
  std::stable_sort(part.begin(), part.end(), [](const Operation& a, const Operation& b) {
    return a.invoke_ns < b.invoke_ns;
  });

  // The first return at which it shows. What is known of a good history at any time is good, and
  // what is illegal stays so, so halving finds it.
  std::vector<int64_t> returns;
  for (const Operation& op : part) {
    if (op.outcome == Outcome::kOk) returns.push_back(op.return_ns);
  }
  std::sort(returns.begin(), returns.end());
  const auto first = std::partition_point(returns.begin(), returns.end(), [&](int64_t now_ns) {
    return !Illegal(KnownAt(part, now_ns), seed, deadline);
  });
  if (first != returns.end()) {
    History known = KnownAt(part, *first);
    // Not if time ran out on the way.
    if (Illegal(known, seed, deadline)) part = std::move(known);
  }

  const std::vector<bool> stays = Shrinker(part, seed, deadline).Run();
  std::vector<size_t> left;
  for (size_t i = 0; i < part.size(); ++i) {
    if (stays[i]) left.push_back(part[i].line);
  }
  return left;
}

}  // namespace raftkv::check
