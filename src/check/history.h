// What clients did and saw: the input of the checker.
//
// Every operation is a transaction in etcd's sense: compares, and one of two lists of steps. A put,
// get or delete is one step without compares, a compare-and-swap one compare and one put.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace raftkv::check {

// What a key holds; nothing: there is no such key.
using Value = std::optional<std::string>;

// The return time of an operation that never returned.
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

enum class Outcome {
  kOk,       // answered
  kFail,     // refused: it must never take effect
  kUnknown,  // no answer: it takes effect at some time after its invocation, or never
};

enum class StepKind { kPut, kGet, kDelete };

struct Step {
  StepKind kind = StepKind::kGet;
  std::string key;
  Value value;                  // put: what is written; get: what was read, if `known`
  bool known = false;           // get: the answer has this step's result
  std::optional<bool> deleted;  // delete: whether there was such a key, if the answer says
  int64_t mod_revision = 0;     // get: of what was read; 0: not recorded
};

// Holds while the key has this value.
struct Compare {
  std::string key;
  Value value;
};

struct Operation {
  std::string kind;  // as in the file: "put", "cas", ...; for people
  std::string client;
  int64_t invoke_ns = 0;
  int64_t return_ns = kNever;  // kNever unless the outcome is kOk
  Outcome outcome = Outcome::kUnknown;
  std::vector<Compare> compares;
  std::vector<Step> then_steps;   // when all compares hold (or there are none)
  std::vector<Step> else_steps;   // when not
  std::optional<bool> succeeded;  // which of them ran, if the answer says
  int64_t revision = 0;           // the store's, from the answer; 0: not recorded
  // Of a "range" whose steps are not spelled out: they are its start, and what was found.
  std::optional<std::string> range_end;
  size_t line = 0;  // in its file; 0: none

  // The steps that ran, if that is known; else null.
  const std::vector<Step>* taken() const {
    if (compares.empty()) return &then_steps;
    if (!succeeded) return nullptr;
    return *succeeded ? &then_steps : &else_steps;
  }
};

using History = std::vector<Operation>;

// Whether a range from `first` asks for `key`. As in etcd: no `end` asks for that one key, and a
// zero byte for all keys from `first` on.
bool IsInRange(const std::string& key, const std::string& first, const std::string& end);

// Why no store can have given this answer, whatever it held: a key that was not asked for, or is
// there twice. Empty where one can.
std::string WhyImpossible(const Operation& op);

// One line: "[+1.234 ms +2.345 ms] c1 put "k" = "v" -> ok". Times relative to `zero_ns`.
std::string Describe(const Operation& op, int64_t zero_ns);

// "key" quoted and escaped; (absent) for no value; long values cut.
std::string Quote(const Value& value);

}  // namespace raftkv::check
