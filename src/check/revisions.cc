#include "check/revisions.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace raftkv::check {
namespace {

// Whether the operation certainly changed something, so that its revision is its own.
bool Wrote(const Operation& op) {
  const std::vector<Step>* taken = op.taken();
  return taken != nullptr && std::any_of(taken->begin(), taken->end(), [](const Step& step) {
           return step.kind == StepKind::kPut ||
                  (step.kind == StepKind::kDelete && step.deleted == true);
         });
}

// The acknowledged writes of one key by revision, with what was there after each.
struct KeyWrites {
  struct Write {
    size_t op;
    Value value;
  };
  std::map<int64_t, Write> acknowledged;
  // Some write's revision, or whether it changed anything, is not known.
  bool others = false;
  bool other_deletes = false;
};

class RevisionCheck {
 public:
  explicit RevisionCheck(const History& history) : history_(history) {
    for (size_t i = 0; i < history.size(); ++i) {
      const Operation& op = history[i];
      if (op.outcome == Outcome::kFail) continue;
      if (op.outcome == Outcome::kOk && op.revision != 0) answered_.push_back(i);
      if (op.outcome == Outcome::kOk && op.revision != 0 && Wrote(op)) {
        const auto [other, fresh] = writes_.emplace(op.revision, i);
        if (!fresh) Problem("two writes were given one revision", {other->second, i});
      }
      AddWrites(i);
    }
  }

  std::vector<RevisionProblem> Run() {
    CheckRealTime();
    for (const size_t i : answered_) CheckReads(i);
    return std::move(problems_);
  }

 private:
  void Problem(const std::string& why, std::vector<size_t> ops) {
    if (!found_.insert(why).second) return;
    problems_.push_back({why, std::move(ops)});
  }

  void AddWrites(size_t i) {
    const Operation& op = history_[i];
    const bool certain = op.outcome == Outcome::kOk && op.revision != 0 && Wrote(op);
    const std::vector<Step>* taken = op.taken();
    for (const auto* steps : {&op.then_steps, &op.else_steps}) {
      if (taken != nullptr && op.outcome == Outcome::kOk && steps != taken) continue;
      for (const Step& step : *steps) {
        if (step.kind == StepKind::kGet || step.deleted == false) continue;
        KeyWrites& key = keys_[step.key];
        if (certain && (step.kind == StepKind::kPut || step.deleted == true)) {
          // Of several writes of one transaction the last one counts.
          key.acknowledged[op.revision] = {i, step.value};
        } else {
          key.others = true;
          key.other_deletes |= step.kind == StepKind::kDelete;
        }
      }
    }
  }

  void CheckRealTime() {
    std::vector<size_t> by_return = answered_, by_invoke = answered_;
    std::sort(by_return.begin(), by_return.end(),
              [this](size_t a, size_t b) { return history_[a].return_ns < history_[b].return_ns; });
    std::sort(by_invoke.begin(), by_invoke.end(),
              [this](size_t a, size_t b) { return history_[a].invoke_ns < history_[b].invoke_ns; });
    std::optional<size_t> newest;
    auto returned = by_return.begin();
    for (const size_t i : by_invoke) {
      const Operation& op = history_[i];
      for (; returned != by_return.end() && history_[*returned].return_ns < op.invoke_ns;
           ++returned) {
        if (!newest || history_[*returned].revision > history_[*newest].revision) {
          newest = *returned;
        }
      }
      if (!newest) continue;
      const int64_t before = history_[*newest].revision;
      if (op.revision < before) Problem("the store's revision went back", {*newest, i});
      if (op.revision == before && Wrote(op)) {
        Problem("a write did not raise the store's revision", {*newest, i});
      }
    }
  }

  void CheckReads(size_t i) {
    const Operation& op = history_[i];
    const std::vector<Step>* taken = op.taken();
    if (taken == nullptr) return;
    std::set<std::string> written;
    for (const Step& step : *taken) {
      if (step.kind != StepKind::kGet) written.insert(step.key);
      // What a transaction reads of its own writes says nothing about others.
      if (step.kind == StepKind::kGet && step.known && !written.contains(step.key)) {
        CheckRead(i, step, Wrote(op) ? op.revision - 1 : op.revision);
      }
    }
  }

  // The answer shows the store as it was at `revision`.
  void CheckRead(size_t i, const Step& step, int64_t revision) {
    const KeyWrites& key = keys_[step.key];
    const auto after = key.acknowledged.upper_bound(revision);
    const bool has_last = after != key.acknowledged.begin();
    const auto last = has_last ? std::prev(after) : after;
    if (!step.value) {
      if (has_last && last->second.value && !key.other_deletes) {
        Problem("a read at a revision misses a write of its key", {last->second.op, i});
      }
      return;
    }
    if (step.mod_revision == 0) return;
    if (step.mod_revision > revision) {
      Problem("a read is of a later revision than the store had", {i});
    }
    if (has_last && last->first > step.mod_revision) {
      Problem("a read at a revision misses a write of its key", {last->second.op, i});
    }
    const auto write = key.acknowledged.find(step.mod_revision);
    if (write != key.acknowledged.end()) {
      if (write->second.value != step.value) {
        Problem("a read is not what the write of its mod revision wrote", {write->second.op, i});
      }
      return;
    }
    const auto other = writes_.find(step.mod_revision);
    if (other != writes_.end()) {
      Problem("a read's mod revision is that of a write to other keys", {other->second, i});
    } else if (!key.others) {
      Problem("a read's mod revision is that of no write of its key", {i});
    }
  }

  const History& history_;
  std::vector<size_t> answered_;
  std::map<int64_t, size_t> writes_;
  std::map<std::string, KeyWrites> keys_;
  std::set<std::string> found_;
  std::vector<RevisionProblem> problems_;
};

}  // namespace

std::vector<RevisionProblem> CheckRevisions(const History& history) {
  return RevisionCheck(history).Run();
}

}  // namespace raftkv::check
