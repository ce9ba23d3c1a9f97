#include "check/checker.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "check/revisions.h"
#include "check/shrink.h"

namespace raftkv::check {
namespace {

using Clock = std::chrono::steady_clock;

// What is found small after that is small enough.
constexpr std::chrono::milliseconds kShrinkMax{10'000};

template <typename Visit>
void ForEachKey(const Operation& op, const Visit& visit) {
  for (const Compare& compare : op.compares) visit(compare.key);
  for (const Step& step : op.then_steps) visit(step.key);
  for (const Step& step : op.else_steps) visit(step.key);
}

std::vector<std::string> KeysOf(const History& history, const std::vector<size_t>& ops) {
  std::set<std::string> keys;
  for (const size_t i : ops) {
    ForEachKey(history[i], [&keys](const std::string& key) { keys.insert(key); });
  }
  return {keys.begin(), keys.end()};
}

void SortByInvocation(const History& history, std::vector<size_t>* ops) {
  std::sort(ops->begin(), ops->end(), [&history](size_t a, size_t b) {
    return std::pair(history[a].invoke_ns, a) < std::pair(history[b].invoke_ns, b);
  });
  ops->erase(std::unique(ops->begin(), ops->end()), ops->end());
}

bool MayWrite(const Operation& op, const std::string& key, const Value& value) {
  for (const auto* steps : {&op.then_steps, &op.else_steps}) {
    for (const Step& step : *steps) {
      if (step.kind == StepKind::kPut && step.key == key && step.value == value) return true;
    }
  }
  return false;
}

// Where a value was seen that none of the violation's operations can have written, adds the one
// that did, wherever in the group it is, and says so.
void ExplainUnwritten(const History& history, const std::vector<size_t>& group,
                      Violation* violation) {
  const std::vector<size_t> ops = violation->ops;
  for (const size_t i : ops) {
    const std::vector<Step>* taken = history[i].taken();
    if (history[i].outcome != Outcome::kOk || taken == nullptr) continue;
    for (const Step& step : *taken) {
      if (step.kind != StepKind::kGet || !step.known || !step.value) continue;
      const auto writes_it = [&](size_t w) { return MayWrite(history[w], step.key, step.value); };
      if (std::any_of(ops.begin(), ops.end(), writes_it)) continue;
      const auto writer = std::find_if(group.begin(), group.end(), writes_it);
      if (writer == group.end()) {
        violation->why = "a value was read that nobody wrote";
      } else {
        violation->why = history[*writer].outcome == Outcome::kFail
                             ? "a value was read whose write had failed"
                             : "a value was read before it was written";
        violation->ops.push_back(*writer);
      }
    }
  }
}

Violation MakeViolation(const History& history, const std::vector<size_t>& group,
                        const std::string& why, const CheckOptions& options,
                        Clock::time_point deadline) {
  Violation violation;
  violation.why = why;
  // Another seed: a verdict that came of two equal fingerprints would not come again.
  violation.ops = Shrink(history, group, options.seed + 1, deadline);
  ExplainUnwritten(history, group, &violation);
  SortByInvocation(history, &violation.ops);
  violation.keys = KeysOf(history, violation.ops);
  return violation;
}

// First without the writes that nobody saw: that mostly finds an order, and in far less time.
SearchResult SearchGroup(const std::vector<const Operation*>& ops, const CheckOptions& options,
                         Clock::time_point deadline, uint64_t* configurations) {
  const Clock::time_point now = Clock::now();
  const SearchLimits first{now + (deadline - now) / 2, options.memory_bytes};
  SearchResult result =
      Search(MakeProblem(ops, Unseen::kLeaveOut, first.deadline), first, options.seed);
  *configurations += result.configurations;
  if (result.verdict == Verdict::kOk) return result;
  result = Search(MakeProblem(ops, Unseen::kKeepWhereItMatters, deadline),
                  {deadline, options.memory_bytes}, options.seed);
  *configurations += result.configurations;
  return result;
}

}  // namespace

std::vector<std::vector<size_t>> SplitByKeys(const History& history) {
  // Union-find over the keys.
  std::map<std::string, size_t> numbers;
  std::vector<size_t> parent;
  const auto root = [&parent](size_t key) {
    while (parent[key] != key) key = parent[key] = parent[parent[key]];
    return key;
  };
  std::vector<std::optional<size_t>> key_of(history.size());
  for (size_t i = 0; i < history.size(); ++i) {
    ForEachKey(history[i], [&](const std::string& key) {
      const auto [it, fresh] = numbers.emplace(key, parent.size());
      if (fresh) parent.push_back(it->second);
      if (key_of[i]) {
        parent[root(it->second)] = root(*key_of[i]);
      } else {
        key_of[i] = it->second;
      }
    });
  }
  std::map<size_t, std::vector<size_t>> groups;
  for (size_t i = 0; i < history.size(); ++i) {
    if (key_of[i]) groups[root(*key_of[i])].push_back(i);
  }
  std::vector<std::vector<size_t>> out;
  for (auto& [key, ops] : groups) out.push_back(std::move(ops));
  return out;
}

CheckReport Check(const History& history, const CheckOptions& options) {
  CheckReport report;
  const Clock::time_point deadline = Clock::now() + options.time_max;
  // What is wrong by itself is said once, and the rest judged without it.
  const auto is_impossible = [&](size_t i) { return !WhyImpossible(history[i]).empty(); };
  for (size_t i = 0; i < history.size(); ++i) {
    if (is_impossible(i)) {
      report.violations.push_back({WhyImpossible(history[i]), {i}, KeysOf(history, {i})});
    }
  }
  for (std::vector<size_t>& group : SplitByKeys(history)) {
    std::erase_if(group, is_impossible);
    ++report.groups;
    report.largest_group = std::max(report.largest_group, group.size());
    std::vector<const Operation*> ops;
    for (const size_t i : group) ops.push_back(&history[i]);
    const SearchResult result = SearchGroup(ops, options, deadline, &report.configurations);
    if (result.verdict == Verdict::kIllegal) {
      report.violations.push_back(
          MakeViolation(history, group, result.why, options, Clock::now() + kShrinkMax));
    } else if (result.verdict == Verdict::kUnknown) {
      ++report.unknown_groups;
      if (report.why.empty()) report.why = result.why;
    }
  }
  if (options.revisions) {
    for (RevisionProblem& problem : CheckRevisions(history)) {
      SortByInvocation(history, &problem.ops);
      std::vector<std::string> keys = KeysOf(history, problem.ops);
      report.violations.push_back({problem.why, std::move(problem.ops), std::move(keys)});
    }
  }
  if (!report.violations.empty()) {
    report.verdict = Verdict::kIllegal;
  } else if (report.unknown_groups > 0) {
    report.verdict = Verdict::kUnknown;
  }
  return report;
}

}  // namespace raftkv::check
