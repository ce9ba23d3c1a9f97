#include "check/search.h"

#include <algorithm>
#include <unordered_set>

#include "common/rng.h"

namespace raftkv::check {
namespace {

using Do = ProblemStep::Do;

// What an entry of the memo takes: the fingerprint, and its place in the hash table.
constexpr uint64_t kMemoEntryBytes = 64;
// A step looks at one operation.
constexpr uint64_t kStepsBetweenLooks = 8192;

constexpr char kOutOfTime[] = "the time limit was reached";

struct Fingerprint {
  uint64_t a = 0;
  uint64_t b = 0;

  void Toggle(const Fingerprint& other) {
    a ^= other.a;
    b ^= other.b;
  }
  bool operator==(const Fingerprint&) const = default;
};

struct FingerprintHash {
  size_t operator()(const Fingerprint& f) const { return f.a; }
};

// The calls and returns of the operations that are not done yet, by time, as a doubly linked list:
// taking an operation out, and putting the last one back, takes no time.
class Timeline {
 public:
  explicit Timeline(const std::vector<ProblemOp>& ops) : calls_(ops.size()), returns_(ops.size()) {
    struct Event {
      int64_t time;
      bool is_return;
      uint32_t op;
    };
    std::vector<Event> events;
    for (uint32_t i = 0; i < ops.size(); ++i) {
      events.push_back({ops[i].invoke, false, i});
      if (ops[i].must) events.push_back({ops[i].deadline, true, i});
    }
    // At equal times calls come first: such operations may have overlapped.
    std::stable_sort(events.begin(), events.end(), [](const Event& x, const Event& y) {
      return x.time != y.time ? x.time < y.time : x.is_return < y.is_return;
    });
    nodes_.resize(events.size() + 1);
    for (uint32_t n = 0; n < nodes_.size(); ++n) {
      nodes_[n].next = n + 1 < nodes_.size() ? n + 1 : 0;
      nodes_[n].previous = n > 0 ? n - 1 : static_cast<uint32_t>(nodes_.size()) - 1;
      if (n == 0) continue;
      const Event& event = events[n - 1];
      nodes_[n].op = event.op;
      nodes_[n].is_return = event.is_return;
      (event.is_return ? returns_ : calls_)[event.op] = n;
    }
  }

  void Remove(uint32_t op) {
    Unlink(calls_[op]);
    if (returns_[op] != 0) Unlink(returns_[op]);
  }
  // Of the operation that was removed last.
  void Restore(uint32_t op) {
    if (returns_[op] != 0) Relink(returns_[op]);
    Relink(calls_[op]);
  }

  // Calls `visit` for each operation that began before every other had to end, until it returns
  // true.
  template <typename Visit>
  bool AnyCandidate(const Visit& visit) const {
    for (uint32_t n = nodes_[0].next; n != 0 && !nodes_[n].is_return; n = nodes_[n].next) {
      if (visit(nodes_[n].op)) return true;
    }
    return false;
  }

 private:
  struct Node {
    uint32_t next = 0;
    uint32_t previous = 0;
    uint32_t op = 0;
    bool is_return = false;
  };

  void Unlink(uint32_t n) {
    nodes_[nodes_[n].previous].next = nodes_[n].next;
    nodes_[nodes_[n].next].previous = nodes_[n].previous;
  }
  void Relink(uint32_t n) {
    nodes_[nodes_[n].previous].next = n;
    nodes_[nodes_[n].next].previous = n;
  }

  std::vector<Node> nodes_;  // 0 is the list's head
  std::vector<uint32_t> calls_;
  std::vector<uint32_t> returns_;  // 0: none
};

class Searcher {
 public:
  Searcher(const Problem& problem, const SearchLimits& limits, uint64_t seed)
      : ops_(problem.ops),
        limits_(limits),
        timeline_(problem.ops),
        done_(problem.ops.size()),
        values_(problem.keys, kAbsent) {
    Rng rng(seed);
    uint32_t values = 0;
    for (const uint32_t count : problem.values) {
      value_base_.push_back(values);
      values += count;
    }
    uses_left_.resize(values);
    for (uint32_t i = 0; i < values; ++i) value_prints_.push_back({rng.Next(), rng.Next()});
    for (const ProblemOp& op : ops_) {
      op_prints_.push_back({rng.Next(), rng.Next()});
      must_left_ += op.must;
      Count(op, 1);
    }
  }

  SearchResult Run() {
    if (Settle()) return Finish(Verdict::kOk, "");
    while (why_.empty() && !frames_.empty()) {
      Frame& frame = frames_.back();
      UndoTo(frame.path);
      if (frame.next == candidates_.size()) {
        candidates_.resize(frame.candidates);
        frames_.pop_back();
        continue;
      }
      const uint32_t op = candidates_[frame.next++];
      Spend();
      if (Take(op) && Settle()) return Finish(Verdict::kOk, "");
    }
    if (!why_.empty()) return Finish(Verdict::kUnknown, why_);
    return Finish(Verdict::kIllegal, "no order of the operations explains their answers");
  }

 private:
  // An operation that was taken, and what the undo list held before.
  struct Taken {
    uint32_t op;
    size_t undo;
  };
  struct Undo {
    uint32_t key;
    ValueId value;
  };
  // A configuration whose candidates are being tried. The newest one's are the end of candidates_.
  struct Frame {
    size_t path;        // length of path_ in this configuration
    size_t candidates;  // where in candidates_ its own begin
    size_t next;        // the next to try
  };
  struct Uses {
    uint32_t writers = 0;    // operations not done that may write the value
    uint32_t observers = 0;  // operations not done that must see it
  };

  SearchResult Finish(Verdict verdict, std::string why) {
    SearchResult result{verdict, std::move(why), memo_.size(), {}};
    if (verdict == Verdict::kOk) {
      for (const Taken& taken : path_) result.order.push_back(ops_[taken.op].source);
    }
    return result;
  }

  // One step more. Now and then it looks whether a limit was reached; why_ says so.
  void Spend() {
    if (++steps_ % kStepsBetweenLooks != 0) return;
    const uint64_t bytes =
        memo_.size() * kMemoEntryBytes + candidates_.capacity() * sizeof(candidates_[0]);
    if (bytes > limits_.memory_bytes) {
      why_ = "the memory limit was reached";
    } else if (std::chrono::steady_clock::now() >= limits_.deadline) {
      why_ = kOutOfTime;
    }
  }

  // Takes all that only looks and fits, and lists what else could come next. True when everything
  // that must be is done.
  bool Settle() {
    const auto take_pure = [this](uint32_t op) {
      Spend();
      return !why_.empty() || (ops_[op].pure && Take(op));
    };
    while (timeline_.AnyCandidate(take_pure)) {
      if (!why_.empty()) return false;
    }
    if (must_left_ == 0) return true;
    if (!memo_.insert(print_).second) return false;
    const size_t begin = candidates_.size();
    timeline_.AnyCandidate([this](uint32_t op) {
      const ProblemOp& o = ops_[op];
      Spend();
      if (!o.pure && (!o.twin || done_[*o.twin]) && ComparesFit(o)) candidates_.push_back(op);
      return false;
    });
    // First what must end first: later candidates are more often free to wait.
    std::stable_sort(
        candidates_.begin() + static_cast<std::ptrdiff_t>(begin), candidates_.end(),
        [this](uint32_t x, uint32_t y) { return ops_[x].deadline < ops_[y].deadline; });
    frames_.push_back({path_.size(), begin, begin});
    return false;
  }

  // Makes `op` the next in the order, if it fits; else changes nothing.
  bool Take(uint32_t op) {
    const ProblemOp& o = ops_[op];
    const size_t undo = undo_.size();
    if (!RunSteps(o) || (!o.must && undo_.size() == undo)) {
      UndoValues(undo);
      return false;
    }
    path_.push_back({op, undo});
    done_[op] = true;
    timeline_.Remove(op);
    print_.Toggle(op_prints_[op]);
    must_left_ -= o.must;
    Count(o, -1);
    if (OverwroteNeeded(undo)) {
      UndoTo(path_.size() - 1);
      return false;
    }
    return true;
  }

  bool ComparesHold(const ProblemOp& op) const {
    return std::all_of(op.compares.begin(), op.compares.end(),
                       [this](const KeyValue& at) { return values_[at.key] == at.value; });
  }
  bool ComparesFit(const ProblemOp& op) const {
    return !op.succeeded || *op.succeeded == ComparesHold(op);
  }

  bool RunSteps(const ProblemOp& op) {
    if (!ComparesFit(op)) return false;
    for (const ProblemStep& step : ComparesHold(op) ? op.then_steps : op.else_steps) {
      if (step.what == Do::kRead) {
        if (values_[step.at.key] != step.at.value) return false;
        continue;
      }
      if (step.what == Do::kDeleteFound && values_[step.at.key] == kAbsent) return false;
      Write(step.at);
    }
    return true;
  }

  void Write(const KeyValue& at) {
    ValueId& value = values_[at.key];
    if (value == at.value) return;
    undo_.push_back({at.key, value});
    SetValue(at);
  }

  void SetValue(const KeyValue& at) {
    print_.Toggle(value_prints_[value_base_[at.key] + values_[at.key]]);
    values_[at.key] = at.value;
    print_.Toggle(value_prints_[value_base_[at.key] + at.value]);
  }

  // Whether a value that the steps since `undo` replaced must still be seen and can't come back.
  bool OverwroteNeeded(size_t undo) const {
    for (size_t i = undo; i < undo_.size(); ++i) {
      const Undo& old = undo_[i];
      const Uses& uses = uses_left_[value_base_[old.key] + old.value];
      if (uses.observers > 0 && uses.writers == 0 && values_[old.key] != old.value) return true;
    }
    return false;
  }

  void Count(const ProblemOp& op, int change) {
    for (const KeyValue& at : op.writes)
      uses_left_[value_base_[at.key] + at.value].writers += change;
    for (const KeyValue& at : op.observes) {
      uses_left_[value_base_[at.key] + at.value].observers += change;
    }
  }

  void UndoValues(size_t undo) {
    for (; undo_.size() > undo; undo_.pop_back()) {
      SetValue({undo_.back().key, undo_.back().value});
    }
  }

  void UndoTo(size_t path) {
    for (; path_.size() > path; path_.pop_back()) {
      const Taken& taken = path_.back();
      const ProblemOp& o = ops_[taken.op];
      UndoValues(taken.undo);
      done_[taken.op] = false;
      timeline_.Restore(taken.op);
      print_.Toggle(op_prints_[taken.op]);
      must_left_ += o.must;
      Count(o, 1);
    }
  }

  const std::vector<ProblemOp>& ops_;
  const SearchLimits limits_;
  uint64_t steps_ = 0;
  std::string why_;  // the limit that was reached

  // The configuration.
  Timeline timeline_;
  std::vector<bool> done_;
  std::vector<ValueId> values_;  // of each key
  Fingerprint print_;
  size_t must_left_ = 0;
  std::vector<uint32_t> value_base_;  // of each key: where its values are in the next two
  std::vector<Uses> uses_left_;
  std::vector<Fingerprint> value_prints_;
  std::vector<Fingerprint> op_prints_;

  // How it came about, and what else there was to try.
  std::vector<Taken> path_;
  std::vector<Undo> undo_;
  std::vector<Frame> frames_;
  std::vector<uint32_t> candidates_;
  std::unordered_set<Fingerprint, FingerprintHash> memo_;
};

}  // namespace

SearchResult Search(const Problem& problem, const SearchLimits& limits, uint64_t seed) {
  if (!problem.contradiction.empty()) {
    return {Verdict::kIllegal, problem.contradiction, 0, {}};
  }
  if (!problem.is_complete) return {Verdict::kUnknown, kOutOfTime, 0, {}};
  return Searcher(problem, limits, seed).Run();
}

}  // namespace raftkv::check
