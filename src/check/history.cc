#include "check/history.h"

#include <cstdio>

namespace raftkv::check {
namespace {

constexpr size_t kShownBytesMax = 40;

std::string Milliseconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof(text), "%+.3f ms", static_cast<double>(ns) / 1e6);
  return text;
}

std::string DescribeStep(const Step& step, bool bare) {
  const std::string key = Quote(step.key);
  switch (step.kind) {
    case StepKind::kPut:
      return (bare ? "" : "put ") + key + " = " + Quote(step.value);
    case StepKind::kGet:
      return (bare ? "" : "get ") + key + (step.known ? " -> " + Quote(step.value) : "") +
             (step.mod_revision != 0 ? " @" + std::to_string(step.mod_revision) : "");
    case StepKind::kDelete:
      return (bare ? "" : "delete ") + key +
             (step.deleted ? *step.deleted ? " -> deleted" : " -> not there" : "");
  }
  return "";
}

std::string DescribeSteps(const std::vector<Step>& steps) {
  std::string out;
  for (const Step& step : steps) out += (out.empty() ? "" : ", ") + DescribeStep(step, false);
  return "{" + out + "}";
}

}  // namespace

bool IsInRange(const std::string& key, const std::string& first, const std::string& end) {
  if (end.empty()) return key == first;
  return key >= first && (key < end || end == std::string(1, '\0'));
}

std::string WhyImpossible(const Operation& op) {
  if (op.outcome != Outcome::kOk) return "";
  if (op.compares.empty() && op.succeeded == false) {
    return "a transaction that compares nothing did not succeed";
  }
  if (!op.range_end) return "";
  const std::string& first = op.then_steps[0].key;
  for (size_t i = 1; i < op.then_steps.size(); ++i) {
    const std::string& key = op.then_steps[i].key;
    if (!IsInRange(key, first, *op.range_end)) return "a range returned a key outside of it";
    if (i == 1) continue;
    const std::string& before = op.then_steps[i - 1].key;
    if (key == before) return "a range returned a key twice";
    if (key < before) return "a range returned its keys out of order";
  }
  return "";
}

std::string Quote(const Value& value) {
  if (!value) return "(absent)";
  std::string out = "\"";
  for (const unsigned char c : *value) {
    if (out.size() > kShownBytesMax)
      return out + "...\" (" + std::to_string(value->size()) + " bytes)";
    if (c == '"' || c == '\\') {
      out += {'\\', static_cast<char>(c)};
    } else if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", c);
      out += escaped;
    }
  }
  return out + "\"";
}

std::string Describe(const Operation& op, int64_t zero_ns) {
  std::string out = "[" + Milliseconds(op.invoke_ns - zero_ns) + " .. " +
                    (op.return_ns == kNever ? "" : Milliseconds(op.return_ns - zero_ns)) + "] " +
                    op.client + " " + op.kind + " ";
  if (op.range_end) {
    const auto found = op.then_steps.begin() + 1;
    out += Quote(op.then_steps[0].key) + " to " + Quote(*op.range_end);
    if (op.outcome == Outcome::kOk) {
      out += " -> " + DescribeSteps({found, op.then_steps.end()});
    }
  } else if (op.compares.empty() && op.then_steps.size() == 1) {
    out += DescribeStep(op.then_steps[0], /*bare=*/op.kind != "txn");
  } else {
    std::string compares;
    for (const Compare& compare : op.compares) {
      compares +=
          (compares.empty() ? "" : " and ") + Quote(compare.key) + " is " + Quote(compare.value);
    }
    if (!compares.empty()) out += "if " + compares + " ";
    out += DescribeSteps(op.then_steps);
    if (!op.else_steps.empty()) out += " else " + DescribeSteps(op.else_steps);
    if (op.succeeded) out += *op.succeeded ? " -> succeeded" : " -> not succeeded";
  }
  if (op.outcome == Outcome::kFail) out += " (failed)";
  if (op.outcome == Outcome::kUnknown) out += " (unknown)";
  if (op.revision != 0) out += " revision " + std::to_string(op.revision);
  if (op.line != 0) out += " line " + std::to_string(op.line);
  return out;
}

}  // namespace raftkv::check
