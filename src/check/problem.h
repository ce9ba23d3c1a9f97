// A history's operations compiled for the search: names replaced by numbers, and everything that
// can be known without searching applied.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "check/history.h"

namespace raftkv::check {

// A value of one key, by number; equal numbers of different keys mean nothing.
using ValueId = uint32_t;
inline constexpr ValueId kAbsent = 0;
// All values that no answer and no compare mentions: to the history they are the same.
inline constexpr ValueId kUnmentioned = 1;

struct KeyValue {
  uint32_t key = 0;
  ValueId value = kAbsent;

  auto operator<=>(const KeyValue&) const = default;
};

struct ProblemStep {
  enum class Do : uint8_t {
    kWrite,        // puts, and deletes: a write of kAbsent
    kRead,         // the key must hold the value
    kDeleteFound,  // a delete that found the key
  };
  Do what = Do::kWrite;
  KeyValue at;

  auto operator<=>(const ProblemStep&) const = default;
};

struct ProblemOp {
  // What it does. `succeeded` as in Operation; without compares true.
  std::vector<KeyValue> compares;
  std::vector<ProblemStep> then_steps;
  std::vector<ProblemStep> else_steps;
  std::optional<bool> succeeded;

  // When: it takes effect at a time from `invoke` to `deadline`, ends included. One that need not
  // has `must` unset and kNever.
  int64_t invoke = 0;
  int64_t deadline = kNever;
  bool must = false;

  // Changes nothing in any state in which it can have had its answer.
  bool pure = false;
  // What its answer says was there just before it; empty where the answer leaves that open.
  std::vector<KeyValue> observes;
  // What it may write, on either branch.
  std::vector<KeyValue> writes;
  // Only for operations that need not be: an earlier one that does exactly the same. In any order
  // that explains the history the two can be swapped, so this one waits for that one.
  std::optional<uint32_t> twin;

  size_t source = 0;  // position in the list that the problem was made from
};

struct Problem {
  uint32_t keys = 0;
  std::vector<uint32_t> values;  // of each key: how many value numbers there are
  std::vector<ProblemOp> ops;    // by invocation
  // Why there can't be an order, where that shows at once; and the operations that show it.
  std::string contradiction;
  std::vector<size_t> contradicting;  // as ProblemOp::source
  // Unset: the deadline came first, and nothing but a contradiction can be made of it.
  bool is_complete = true;
  uint64_t steps = 0;  // that compiling took
};

// What becomes of unacknowledged writes of which nothing was seen.
enum class Unseen {
  // They are left out. An order of the rest is an order of all, since they need not have taken
  // effect; but where there is none, there may still be one with them.
  kLeaveOut,
  // Kept where some answer says that a key did *not* have some value, which may be their doing.
  // Leaving out the others can't make an order wrong.
  kKeepWhereItMatters,
};

// Compiles operations that share keys. All keys are absent before the first. What is applied here:
// - refused operations and reads without an answer are left out;
// - a write whose value only it can have written, and that was seen, must have taken effect by the
//   return of the first that saw it, whether or not it was acknowledged;
// - an unacknowledged write of which nothing was seen is left out, as `unseen` says.
Problem MakeProblem(const std::vector<const Operation*>& ops, Unseen unseen,
                    std::chrono::steady_clock::time_point deadline);

}  // namespace raftkv::check
