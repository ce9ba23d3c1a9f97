// Short names for operations, and texts for failures.
#pragma once

#include <string>
#include <vector>

#include "check/checker.h"
#include "check/history_file.h"

namespace raftkv::check {

inline Step PutStep(std::string key, std::string value) {
  return {StepKind::kPut, std::move(key), std::move(value)};
}
inline Step GetStep(std::string key, Value result) {
  return {StepKind::kGet, std::move(key), std::move(result), /*known=*/true};
}

// Answered operations; their times are still to be set.
inline Operation Txn(std::string client, std::vector<Compare> compares, std::vector<Step> steps,
                     bool succeeded) {
  Operation op;
  op.kind = "txn";
  op.client = std::move(client);
  op.outcome = Outcome::kOk;
  op.compares = std::move(compares);
  op.then_steps = std::move(steps);
  op.succeeded = succeeded;
  return op;
}
inline Operation Put(std::string client, std::string key, std::string value) {
  Operation op = Txn(std::move(client), {}, {PutStep(std::move(key), std::move(value))}, true);
  op.kind = "put";
  return op;
}
inline Operation Get(std::string client, std::string key, Value result) {
  Operation op = Txn(std::move(client), {}, {GetStep(std::move(key), std::move(result))}, true);
  op.kind = "get";
  return op;
}
inline Operation Delete(std::string client, std::string key, bool deleted) {
  Step step{StepKind::kDelete, std::move(key)};
  step.deleted = deleted;
  Operation op = Txn(std::move(client), {}, {step}, true);
  op.kind = "delete";
  return op;
}
inline Operation Cas(std::string client, std::string key, Value expected, std::string value,
                     bool succeeded) {
  Operation op = Txn(std::move(client), {{key, std::move(expected)}},
                     {PutStep(key, std::move(value))}, succeeded);
  op.kind = "cas";
  return op;
}

// Of the values alone.
inline Verdict VerdictOf(const History& history) {
  CheckOptions options;
  options.revisions = false;
  return Check(history, options).verdict;
}

// As a file that raftkv-check reads.
inline std::string Text(const History& history) {
  std::string out;
  for (const Operation& op : history) out += FormatOperation(op) + "\n";
  return out;
}
inline std::string Text(const History& history, const std::vector<size_t>& ops) {
  std::string out;
  for (const size_t i : ops) out += FormatOperation(history[i]) + "\n";
  return out;
}

}  // namespace raftkv::check
