#include "check/problem.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace raftkv::check {
namespace {

using Do = ProblemStep::Do;

// Numbers keys and values, and compiles one operation at a time.
class Compiler {
 public:
  explicit Compiler(const std::vector<const Operation*>& ops) {
    for (const Operation* op : ops) {
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

// Who writes and who saw each value.
struct Uses {
  std::vector<size_t> writers;
  std::vector<size_t> observers;
};

std::map<KeyValue, Uses> FindUses(const std::vector<ProblemOp>& ops) {
  std::map<KeyValue, Uses> uses;
  for (size_t i = 0; i < ops.size(); ++i) {
    for (const KeyValue& at : ops[i].writes) uses[at].writers.push_back(i);
    for (const KeyValue& at : ops[i].observes) uses[at].observers.push_back(i);
  }
  return uses;
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

// Applies what was seen to those who wrote it, until nothing follows any more.
void UseObservations(Problem* problem) {
  for (bool news = true; news;) {
    news = false;
    for (const auto& [at, use] : FindUses(problem->ops)) {
      if (at.value == kAbsent || use.observers.empty()) continue;
      if (use.writers.empty()) {
        problem->contradiction = "a value was seen that no operation can have written";
        problem->contradicting = {problem->ops[use.observers[0]].source};
        return;
      }
      if (use.writers.size() > 1) continue;
      const auto first = std::min_element(
          use.observers.begin(), use.observers.end(), [problem](size_t a, size_t b) {
            return problem->ops[a].deadline < problem->ops[b].deadline;
          });
      const ProblemOp& seen = problem->ops[*first];
      ProblemOp& writer = problem->ops[use.writers[0]];
      if (&seen == &writer) continue;
      news |= MustHaveWritten(at, seen.deadline, &writer);
      if (writer.deadline < writer.invoke) {
        problem->contradiction = "a value was seen before it was written";
        problem->contradicting = {writer.source, seen.source};
        return;
      }
    }
  }
}

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
void DropUnseen(Unseen unseen, Problem* problem) {
  std::set<uint32_t> seen_otherwise;
  if (unseen == Unseen::kKeepWhereItMatters) seen_otherwise = KeysSeenOtherwise(problem->ops);
  std::set<KeyValue> seen;
  std::vector<ProblemOp*> open;
  for (ProblemOp& op : problem->ops) {
    seen.insert(op.observes.begin(), op.observes.end());
    if (!op.must) open.push_back(&op);
  }
  const auto matters = [&](const KeyValue& at) {
    return seen.contains(at) || seen_otherwise.contains(at.key);
  };
  for (bool news = true; news;) {
    news = std::erase_if(open, [&](const ProblemOp* op) {
             if (std::none_of(op->writes.begin(), op->writes.end(), matters)) return false;
             seen.insert(op->compares.begin(), op->compares.end());
             if (unseen == Unseen::kKeepWhereItMatters && !op->else_steps.empty()) {
               for (const KeyValue& at : op->compares) seen_otherwise.insert(at.key);
             }
             return true;
           }) > 0;
  }
  const std::set<const ProblemOp*> dropped(open.begin(), open.end());
  std::vector<ProblemOp> kept;
  for (ProblemOp& op : problem->ops) {
    if (!dropped.contains(&op)) kept.push_back(std::move(op));
  }
  problem->ops = std::move(kept);
}

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

Problem MakeProblem(const std::vector<const Operation*>& ops, Unseen unseen) {
  Problem problem;
  Compiler compiler(ops);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (ops[i]->outcome == Outcome::kFail) continue;
    ProblemOp op = compiler.Compile(*ops[i], i);
    Derive(&op);
    if (op.must || !op.writes.empty()) problem.ops.push_back(std::move(op));
  }
  problem.values = compiler.ValueCounts();
  problem.keys = static_cast<uint32_t>(problem.values.size());
  std::stable_sort(problem.ops.begin(), problem.ops.end(),
                   [](const ProblemOp& a, const ProblemOp& b) { return a.invoke < b.invoke; });
  UseObservations(&problem);
  DropUnseen(unseen, &problem);
  FindTwins(&problem);
  return problem;
}

}  // namespace raftkv::check
