#include "check/problem.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <tuple>
#include <utility>

namespace raftkv::check {
namespace {

using Do = ProblemStep::Do;

// Counts what is done, and looks at the clock every so often.
class Budget {
 public:
  explicit Budget(std::chrono::steady_clock::time_point deadline) : deadline_(deadline) {}

  // One step more. False once the time is up.
  bool Spend() {
    if (++steps_ % kStepsBetweenClocks == 0 && std::chrono::steady_clock::now() >= deadline_) {
      is_spent_ = true;
    }
    return !is_spent_;
  }
  bool is_spent() const { return is_spent_; }
  uint64_t steps() const { return steps_; }

 private:
  static constexpr uint64_t kStepsBetweenClocks = 1024;

  const std::chrono::steady_clock::time_point deadline_;
  uint64_t steps_ = 0;
  bool is_spent_ = false;
};

// Numbers keys and values, and compiles one operation at a time.
class Compiler {
 public:
  Compiler(const std::vector<const Operation*>& ops, Budget* budget) {
    for (const Operation* op : ops) {
      if (!budget->Spend()) return;
      if (op->outcome == Outcome::kFail) continue;
      for (const Compare& compare : op->compares) Mention(compare.key, compare.value);
      for (const auto* steps : {&op->then_steps, &op->else_steps}) {
        for (const Step& step : *steps) {
          Key(step.key);
          if (step.kind == StepKind::kGet && step.known) Mention(step.key, step.value);
        }
      }
    }
  }

  ProblemOp Compile(const Operation& op, size_t source) {
    ProblemOp out;
    for (const Compare& compare : op.compares) {
      out.compares.push_back({Key(compare.key), Number(compare.key, compare.value)});
    }
    out.succeeded = op.compares.empty() ? std::optional<bool>(true) : op.succeeded;
    out.must = op.outcome == Outcome::kOk;
    out.then_steps = CompileSteps(op.then_steps);
    out.else_steps = CompileSteps(op.else_steps);
    out.invoke = op.invoke_ns;
    out.deadline = out.must ? op.return_ns : kNever;
    out.source = source;
    return out;
  }

  std::vector<uint32_t> ValueCounts() const {
    std::vector<uint32_t> counts;
    for (const auto& values : values_) counts.push_back(static_cast<uint32_t>(values.size()) + 2);
    return counts;
  }

 private:
  std::vector<ProblemStep> CompileSteps(const std::vector<Step>& steps) {
    std::vector<ProblemStep> out;
    for (const Step& step : steps) {
      const uint32_t key = Key(step.key);
      switch (step.kind) {
        case StepKind::kPut:
          out.push_back({Do::kWrite, {key, Number(step.key, step.value)}});
          break;
        case StepKind::kGet:
          if (step.known) out.push_back({Do::kRead, {key, Number(step.key, step.value)}});
          break;
        case StepKind::kDelete:
          if (!step.deleted.has_value()) {
            out.push_back({Do::kWrite, {key, kAbsent}});
          } else {
            // One that found nothing is a read of that.
            out.push_back({*step.deleted ? Do::kDeleteFound : Do::kRead, {key, kAbsent}});
          }
          break;
      }
    }
    return out;
  }

  uint32_t Key(const std::string& key) {
    const auto [it, fresh] = keys_.emplace(key, static_cast<uint32_t>(keys_.size()));
    if (fresh) values_.emplace_back();
    return it->second;
  }

  void Mention(const std::string& key, const Value& value) {
    auto& values = values_[Key(key)];
    if (value) values.emplace(*value, static_cast<ValueId>(values.size()) + 2);
  }

  ValueId Number(const std::string& key, const Value& value) {
    if (!value) return kAbsent;
    const auto& values = values_[Key(key)];
    const auto it = values.find(*value);
    return it == values.end() ? kUnmentioned : it->second;
  }

  std::map<std::string, uint32_t> keys_;
  std::vector<std::map<std::string, ValueId>> values_;
};

const std::vector<ProblemStep>* Taken(const ProblemOp& op) {
  if (!op.succeeded) return nullptr;
  return *op.succeeded ? &op.then_steps : &op.else_steps;
}

// Adds what `steps`, run from their start, see before they write.
void Observe(const std::vector<ProblemStep>& steps, std::vector<KeyValue>* observes) {
  std::set<uint32_t> written;
  for (const ProblemStep& step : steps) {
    if (step.what == Do::kRead && !written.contains(step.at.key)) observes->push_back(step.at);
    if (step.what != Do::kRead) written.insert(step.at.key);
  }
}

template <typename T>
void SortUnique(std::vector<T>* list) {
  std::sort(list->begin(), list->end());
  list->erase(std::unique(list->begin(), list->end()), list->end());
}

// Fills in what follows from what the operation does. Again when `succeeded` or `must` became
// known.
void Derive(ProblemOp* op) {
  op->observes.clear();
  op->writes.clear();
  const std::vector<ProblemStep>* taken = Taken(*op);
  if (op->must && taken != nullptr) {
    if (*op->succeeded) op->observes = op->compares;
    Observe(*taken, &op->observes);
    SortUnique(&op->observes);
  }
  const auto add_writes = [op](const std::vector<ProblemStep>& steps) {
    for (const ProblemStep& step : steps) {
      if (step.what != Do::kRead) op->writes.push_back(step.at);
    }
  };
  if (op->succeeded != false) add_writes(op->then_steps);
  if (op->succeeded != true) add_writes(op->else_steps);
  SortUnique(&op->writes);
  op->pure = op->must && op->writes.empty();
}

// Applies to `writer` that it wrote `at` by the time `deadline`. Returns whether that was news.
bool MustHaveWritten(const KeyValue& at, int64_t deadline, ProblemOp* writer) {
  bool news = deadline < writer->deadline || !writer->must;
  writer->deadline = std::min(writer->deadline, deadline);
  writer->must = true;
  if (!writer->succeeded) {
    const auto writes_it = [&at](const std::vector<ProblemStep>& steps) {
      return std::any_of(steps.begin(), steps.end(), [&at](const ProblemStep& step) {
        return step.what != Do::kRead && step.at == at;
      });
    };
    const bool on_success = writes_it(writer->then_steps);
    if (on_success != writes_it(writer->else_steps)) {
      writer->succeeded = on_success;
      news = true;
    }
  }
  if (news) Derive(writer);
  return news;
}

// Applies what was seen to those who wrote it, until nothing follows any more. What was seen first
// is applied first, so that an operation rarely has to be looked at again: a chain of operations of
// which each saw what the one before wrote takes a step a link.
class Observations {
 public:
  Observations(Problem* problem, Budget* budget) : problem_(problem), budget_(budget) {
    size_t values = 0;
    for (const uint32_t count : problem->values) {
      value_base_.push_back(values);
      values += count;
    }
    uses_.resize(values);
    for (size_t i = 0; i < problem->ops.size(); ++i) {
      for (const KeyValue& at : problem->ops[i].writes) {
        ++UsesOf(at).writers;
        UsesOf(at).writer_sum += i;
      }
      for (const KeyValue& at : problem->ops[i].observes) See(at, i);
    }
  }

  void Apply() {
    while (!seen_.empty() && problem_->contradiction.empty() && budget_->Spend()) {
      const KeyValue at = seen_.top().second;
      seen_.pop();
      ApplyOne(at);
    }
  }

 private:
  struct Uses {
    size_t writers = 0;
    size_t writer_sum = 0;        // of their positions; of one writer it is the position
    std::optional<size_t> first;  // of those that saw it the one with the earliest deadline
  };
  using Seen = std::pair<int64_t, KeyValue>;  // by when it was

  Uses& UsesOf(const KeyValue& at) { return uses_[value_base_[at.key] + at.value]; }

  // `i` saw it, or did so earlier than was known.
  void See(const KeyValue& at, size_t i) {
    budget_->Spend();
    if (at.value == kAbsent) return;
    std::optional<size_t>& first = UsesOf(at).first;
    const int64_t deadline = problem_->ops[i].deadline;
    if (first && first != i && problem_->ops[*first].deadline <= deadline) return;
    first = i;
    seen_.push({deadline, at});
  }

  void ApplyOne(const KeyValue& at) {
    const Uses uses = UsesOf(at);
    const ProblemOp& seen = problem_->ops[*uses.first];
    if (uses.writers == 0) {
      problem_->contradiction = "a value was seen that no operation can have written";
      problem_->contradicting = {seen.source};
    }
    if (uses.writers != 1 || uses.writer_sum == *uses.first) return;
    ProblemOp& writer = problem_->ops[uses.writer_sum];
    const std::vector<KeyValue> wrote = writer.writes;
    if (MustHaveWritten(at, seen.deadline, &writer)) {
      for (const KeyValue& other : wrote) {
        const auto& writes = writer.writes;
        if (!std::binary_search(writes.begin(), writes.end(), other)) {
          DidNotWrite(other, uses.writer_sum);
        }
      }
      for (const KeyValue& other : writer.observes) See(other, uses.writer_sum);
    }
    if (writer.deadline < writer.invoke) {
      problem_->contradiction = "a value was seen before it was written";
      problem_->contradicting = {writer.source, seen.source};
    }
  }

  void DidNotWrite(const KeyValue& at, size_t i) {
    Uses& uses = UsesOf(at);
    --uses.writers;
    uses.writer_sum -= i;
    if (uses.first) seen_.push({problem_->ops[*uses.first].deadline, at});
  }

  Problem* const problem_;
  Budget* const budget_;
  std::vector<size_t> value_base_;  // of each key: where its values are in uses_
  std::vector<Uses> uses_;
  std::priority_queue<Seen, std::vector<Seen>, std::greater<>> seen_;  // to be applied
};

// Keys of which some answer says that they did not hold a value, without saying what they held.
std::set<uint32_t> KeysSeenOtherwise(const std::vector<ProblemOp>& ops) {
  std::set<uint32_t> keys;
  for (const ProblemOp& op : ops) {
    if (!op.must) continue;
    if (op.succeeded != true) {
      for (const KeyValue& at : op.compares) keys.insert(at.key);
    }
    for (const auto* steps : {&op.then_steps, &op.else_steps}) {
      for (const ProblemStep& step : *steps) {
        if (step.what == Do::kDeleteFound) keys.insert(step.at.key);
      }
    }
  }
  return keys;
}

// Leaves out the unacknowledged writes of which nothing was seen. One that may have written what
// was seen stays, and so what may have made its compares hold stays too.
class UnseenWrites {
 public:
  UnseenWrites(Unseen unseen, Problem* problem, Budget* budget)
      : unseen_(unseen), problem_(problem), budget_(budget), stays_(problem->ops.size()) {
    for (size_t i = 0; i < problem->ops.size(); ++i) {
      const ProblemOp& op = problem->ops[i];
      stays_[i] = op.must;
      if (op.must) continue;
      for (const KeyValue& at : op.writes) {
        writers_[at].push_back(i);
        writers_of_key_[at.key].push_back(i);
      }
    }
  }

  void Drop() {
    if (unseen_ == Unseen::kKeepWhereItMatters) {
      for (const uint32_t key : KeysSeenOtherwise(problem_->ops)) SeeOtherwise(key);
    }
    for (const ProblemOp& op : problem_->ops) {
      for (const KeyValue& at : op.observes) See(at);
    }
    while (!found_.empty() && budget_->Spend()) {
      const ProblemOp& op = problem_->ops[found_.back()];
      found_.pop_back();
      for (const KeyValue& at : op.compares) {
        See(at);
        if (unseen_ == Unseen::kKeepWhereItMatters && !op.else_steps.empty()) SeeOtherwise(at.key);
      }
    }
    std::vector<ProblemOp> kept;
    for (size_t i = 0; i < stays_.size(); ++i) {
      if (stays_[i]) kept.push_back(std::move(problem_->ops[i]));
    }
    problem_->ops = std::move(kept);
  }

 private:
  void See(const KeyValue& at) { Keep(writers_.extract(at)); }
  void SeeOtherwise(uint32_t key) { Keep(writers_of_key_.extract(key)); }

  // Whoever was in an index once stays; it is not needed there again.
  template <typename Node>
  void Keep(const Node& writers) {
    budget_->Spend();
    if (writers.empty()) return;
    for (const size_t i : writers.mapped()) {
      budget_->Spend();
      if (!stays_[i]) found_.push_back(i);
      stays_[i] = true;
    }
  }

  const Unseen unseen_;
  Problem* const problem_;
  Budget* const budget_;
  // Those that need not have taken effect, by what they may have written.
  std::map<KeyValue, std::vector<size_t>> writers_;
  std::map<uint32_t, std::vector<size_t>> writers_of_key_;
  std::vector<bool> stays_;
  std::vector<size_t> found_;  // to stay, but their compares are still to be looked at
};

void FindTwins(Problem* problem) {
  std::map<std::tuple<std::vector<KeyValue>, std::vector<ProblemStep>, std::vector<ProblemStep>,
                      std::optional<bool>>,
           uint32_t>
      last;
  for (uint32_t i = 0; i < problem->ops.size(); ++i) {
    ProblemOp& op = problem->ops[i];
    if (op.must) continue;
    const auto [it, first] =
        last.try_emplace({op.compares, op.then_steps, op.else_steps, op.succeeded}, i);
    if (!first) op.twin = std::exchange(it->second, i);
  }
}

}  // namespace

Problem MakeProblem(const std::vector<const Operation*>& ops, Unseen unseen,
                    std::chrono::steady_clock::time_point deadline) {
  Problem problem;
  Budget budget(deadline);
  Compiler compiler(ops, &budget);
  for (size_t i = 0; i < ops.size() && budget.Spend(); ++i) {
    if (ops[i]->outcome == Outcome::kFail) continue;
    ProblemOp op = compiler.Compile(*ops[i], i);
    Derive(&op);
    if (op.must || !op.writes.empty()) problem.ops.push_back(std::move(op));
  }
  problem.values = compiler.ValueCounts();
  problem.keys = static_cast<uint32_t>(problem.values.size());
  std::stable_sort(problem.ops.begin(), problem.ops.end(),
                   [](const ProblemOp& a, const ProblemOp& b) { return a.invoke < b.invoke; });
  if (!budget.is_spent()) Observations(&problem, &budget).Apply();
  if (!budget.is_spent()) UnseenWrites(unseen, &problem, &budget).Drop();
  if (!budget.is_spent()) FindTwins(&problem);
  problem.steps = budget.steps();
  problem.is_complete = !budget.is_spent();
  return problem;
}

}  // namespace raftkv::check
