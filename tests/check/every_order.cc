#include "check/every_order.h"

#include <algorithm>
#include <map>

namespace raftkv::check {
namespace {

using State = std::map<std::string, std::string>;

Value At(const State& state, const std::string& key) {
  const auto it = state.find(key);
  return it == state.end() ? Value() : Value(it->second);
}

// Runs `op`; false if its answer would have been another.
bool Run(const Operation& op, State* state) {
  const bool answered = op.outcome == Outcome::kOk;
  const bool holds = std::all_of(
      op.compares.begin(), op.compares.end(),
      [state](const Compare& compare) { return At(*state, compare.key) == compare.value; });
  if (answered && op.succeeded && *op.succeeded != holds) return false;
  for (const Step& step : holds ? op.then_steps : op.else_steps) {
    const bool there = state->contains(step.key);
    switch (step.kind) {
      case StepKind::kPut:
        (*state)[step.key] = *step.value;
        break;
      case StepKind::kGet:
        if (answered && step.known && At(*state, step.key) != step.value) return false;
        break;
      case StepKind::kDelete:
        if (answered && step.deleted && *step.deleted != there) return false;
        state->erase(step.key);
        break;
    }
  }
  return true;
}

bool Try(const std::vector<const Operation*>& left, const State& state) {
  if (std::none_of(left.begin(), left.end(),
                   [](const Operation* op) { return op->outcome == Outcome::kOk; })) {
    return true;
  }
  for (size_t i = 0; i < left.size(); ++i) {
    const bool others_may_wait = std::none_of(left.begin(), left.end(), [&](const Operation* op) {
      return op->outcome == Outcome::kOk && op->return_ns < left[i]->invoke_ns;
    });
    if (!others_may_wait) continue;
    State next = state;
    if (!Run(*left[i], &next)) continue;
    std::vector<const Operation*> rest = left;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
    if (Try(rest, next)) return true;
  }
  return false;
}

}  // namespace

bool AnyOrderExplains(const History& history) {
  std::vector<const Operation*> all;
  for (const Operation& op : history) {
    if (op.outcome != Outcome::kFail) all.push_back(&op);
  }
  return Try(all, {});
}

}  // namespace raftkv::check
