#include "check/history_file.h"

#include <functional>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

namespace raftkv::check {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

Status Bad(std::string why) { return {Code::kInvalidArgument, std::move(why)}; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads the fields of one JSON object. The first thing that is wrong is kept; what comes after it
// returns defaults.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {
    if (!object.is_object()) Fail("is not a JSON object");
  }

  bool Has(const char* name) const {
    return object_.is_object() && object_.contains(name) && !object_.at(name).is_null();
  }

  // A byte string: a JSON string (its bytes are UTF-8), or {"hex": "00ff"}.
  std::string Bytes(const char* name) {
    const json* field = Find(name);
    if (field == nullptr) return "";
    if (field->is_string()) return field->get<std::string>();
    if (field->is_object() && field->size() == 1 && field->contains("hex") &&
        field->at("hex").is_string()) {
      const std::string digits = field->at("hex").get<std::string>();
      std::string bytes;
      for (size_t i = 0; i + 1 < digits.size(); i += 2) {
        const int high = HexDigit(digits[i]), low = HexDigit(digits[i + 1]);
        if (high < 0 || low < 0) break;
        bytes.push_back(static_cast<char>(high << 4 | low));
      }
      if (bytes.size() * 2 == digits.size()) return bytes;
    }
    Fail("is neither a string nor {\"hex\": \"...\"}", name);
    return "";
  }

  // As Bytes; null means that there is no such key.
  Value BytesOrNull(const char* name) {
    const json* field = Find(name);
    if (field == nullptr || field->is_null()) return std::nullopt;
    return Bytes(name);
  }

  std::string Text(const char* name) {
    const json* field = Find(name);
    if (field == nullptr) return "";
    if (field->is_string()) return field->get<std::string>();
    if (field->is_number_integer()) return field->dump();
    Fail("is not a string", name);
    return "";
  }

  bool Bool(const char* name) {
    const json* field = Find(name);
    if (field == nullptr) return false;
    if (!field->is_boolean()) Fail("is not true or false", name);
    return field->is_boolean() && field->get<bool>();
  }

  int64_t Number(const char* name) {
    const json* field = Find(name);
    if (field == nullptr) return 0;
    // kNever is not a time.
    const bool fits = field->is_number_integer() && *field >= 0 && *field < kNever;
    if (!fits) Fail("is not a whole number from 0 up to 2^63-2", name);
    return fits ? field->get<int64_t>() : 0;
  }

  int64_t NumberOr0(const char* name) { return Has(name) ? Number(name) : 0; }

  const json& List(const char* name) {
    static const json empty = json::array();
    const json* field = Find(name);
    if (field != nullptr && field->is_array()) return *field;
    if (field != nullptr) Fail("is not a list", name);
    return empty;
  }

  void RefuseOthers(const std::set<std::string, std::less<>>& known) {
    if (!object_.is_object()) return;
    for (const auto& [name, value] : object_.items()) {
      if (!known.contains(name)) Fail("is not a field of this operation", name);
    }
  }

  void Fail(const std::string& why, const std::string& name = "") {
    if (status_.ok()) status_ = Bad(name.empty() ? why : "'" + name + "' " + why);
  }
  void Take(const Status& status) {
    if (status_.ok()) status_ = status;
  }
  const Status& status() const { return status_; }

 private:
  const json* Find(const char* name) {
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(name);
    if (it == object_.end()) {
      Fail("is missing", name);
      return nullptr;
    }
    return &*it;
  }

  const json& object_;
  Status status_;
};

// `observed`: the answer is there, so it must have the step's result.
Step ReadStep(Fields* fields, const std::string& kind, bool observed) {
  Step step;
  step.key = fields->Bytes("key");
  if (kind == "put") {
    step.kind = StepKind::kPut;
    step.value = fields->Bytes("value");
  } else if (kind == "get") {
    step.kind = StepKind::kGet;
    step.known = observed;
    if (observed) step.value = fields->BytesOrNull("result");
    step.mod_revision = fields->NumberOr0("mod_revision");
  } else {
    step.kind = StepKind::kDelete;
    if (observed && fields->Has("deleted")) {
      const int64_t keys = fields->Number("deleted");
      if (keys > 1) fields->Fail("is more than the one key", "deleted");
      step.deleted = keys > 0;
    }
  }
  return step;
}

StatusOr<std::vector<Step>> ReadSteps(const json& list, bool observed) {
  std::vector<Step> steps;
  for (const json& item : list) {
    Fields fields(item);
    const std::string kind = fields.Text("op");
    if (kind != "put" && kind != "get" && kind != "delete") {
      fields.Fail("of a step is put, get or delete", "op");
    }
    fields.RefuseOthers({"op", "key", "value", "result", "mod_revision", "deleted"});
    steps.push_back(ReadStep(&fields, kind, observed));
    RAFTKV_RETURN_IF_ERROR(fields.status());
  }
  return steps;
}

void ReadTxn(Fields* fields, bool observed, Operation* op) {
  for (const json& item : fields->List("compare")) {
    Fields compare(item);
    compare.RefuseOthers({"key", "value"});
    op->compares.push_back({compare.Bytes("key"), compare.BytesOrNull("value")});
    fields->Take(compare.status());
  }
  if (observed) {
    // Without compares it need not be said. Where it is, and is false, the answer is wrong, and not
    // the file: WhyImpossible.
    const bool said = !op->compares.empty() || fields->Has("succeeded");
    op->succeeded = !said || fields->Bool("succeeded");
  }
  for (const bool branch : {true, false}) {
    const char* name = branch ? "then" : "else";
    if (!branch && !fields->Has(name)) continue;
    auto steps = ReadSteps(fields->List(name), observed && op->succeeded == branch);
    fields->Take(steps.status());
    if (steps.ok()) (branch ? op->then_steps : op->else_steps) = *std::move(steps);
  }
}

void ReadRange(Fields* fields, bool observed, Operation* op) {
  // Kept as one step with the start of the range, and those that were found, until all keys of the
  // history are known.
  Step start;
  start.key = fields->Bytes("key");
  op->then_steps.push_back(start);
  op->range_end = fields->Bytes("range_end");
  if (!observed) return;
  op->succeeded = true;
  for (const json& item : fields->List("kvs")) {
    Fields kv(item);
    kv.RefuseOthers({"key", "value", "mod_revision"});
    Step found;
    found.key = kv.Bytes("key");
    found.value = kv.Bytes("value");
    found.known = true;
    found.mod_revision = kv.NumberOr0("mod_revision");
    fields->Take(kv.status());
    op->then_steps.push_back(std::move(found));
  }
}

void ReadBody(Fields* fields, bool observed, Operation* op) {
  if (op->kind == "put" || op->kind == "get" || op->kind == "delete") {
    op->then_steps.push_back(ReadStep(fields, op->kind, observed));
  } else if (op->kind == "cas") {
    op->compares.push_back({fields->Bytes("key"), fields->BytesOrNull("expected")});
    op->then_steps.push_back(ReadStep(fields, "put", observed));
    if (observed) op->succeeded = fields->Bool("succeeded");
  } else if (op->kind == "txn") {
    ReadTxn(fields, observed, op);
  } else if (op->kind == "range") {
    ReadRange(fields, observed, op);
  } else {
    fields->Fail("is put, get, delete, cas, txn or range", "op");
  }
}

void RefuseOtherFields(const std::string& kind, Fields* fields) {
  static const std::map<std::string, std::set<std::string>> kOwn = {
      {"put", {"key", "value"}},
      {"get", {"key", "result", "mod_revision"}},
      {"delete", {"key", "deleted"}},
      {"cas", {"key", "expected", "value", "succeeded"}},
      {"txn", {"compare", "then", "else", "succeeded"}},
      {"range", {"key", "range_end", "kvs"}},
  };
  const auto own = kOwn.find(kind);
  if (own == kOwn.end()) return;
  std::set<std::string, std::less<>> known = {"client", "node",    "op",      "invoke",
                                              "return", "outcome", "revision"};
  known.insert(own->second.begin(), own->second.end());
  fields->RefuseOthers(known);
}

bool IsUtf8(const std::string& bytes) {
  // The library's own check, so that what is written as text can be read again.
  try {
    (void)json(bytes).dump();
    return true;
  } catch (const json::type_error&) {
    return false;
  }
}

ordered_json ToJson(const std::string& bytes) {
  if (IsUtf8(bytes)) return bytes;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char c : bytes) hex += {kDigits[c >> 4], kDigits[c & 15]};
  return {{"hex", hex}};
}

ordered_json ToJson(const Value& value) { return value ? ToJson(*value) : ordered_json(nullptr); }

void AddStep(const Step& step, ordered_json* out) {
  (*out)["key"] = ToJson(step.key);
  if (step.kind == StepKind::kPut) (*out)["value"] = ToJson(step.value);
  if (step.kind == StepKind::kGet && step.known) {
    (*out)["result"] = ToJson(step.value);
    if (step.mod_revision != 0) (*out)["mod_revision"] = step.mod_revision;
  }
  if (step.deleted) (*out)["deleted"] = *step.deleted ? 1 : 0;
}

ordered_json ToJson(const std::vector<Step>& steps) {
  ordered_json list = ordered_json::array();
  for (const Step& step : steps) {
    ordered_json item;
    item["op"] = step.kind == StepKind::kPut   ? "put"
                 : step.kind == StepKind::kGet ? "get"
                                               : "delete";
    AddStep(step, &item);
    list.push_back(std::move(item));
  }
  return list;
}

// A range as it was asked and answered.
void AddRange(const Operation& op, ordered_json* out) {
  (*out)["key"] = ToJson(op.then_steps[0].key);
  (*out)["range_end"] = ToJson(*op.range_end);
  if (op.outcome != Outcome::kOk) return;
  (*out)["kvs"] = ordered_json::array();
  for (size_t i = 1; i < op.then_steps.size(); ++i) {
    const Step& found = op.then_steps[i];
    ordered_json kv = {{"key", ToJson(found.key)}, {"value", ToJson(found.value)}};
    if (found.mod_revision != 0) kv["mod_revision"] = found.mod_revision;
    (*out)["kvs"].push_back(std::move(kv));
  }
}

void AddBody(const Operation& op, ordered_json* out) {
  if (op.range_end) return AddRange(op, out);
  if (op.kind == "cas" && op.compares.size() == 1 && op.then_steps.size() == 1) {
    (*out)["key"] = ToJson(op.compares[0].key);
    (*out)["expected"] = ToJson(op.compares[0].value);
    (*out)["value"] = ToJson(op.then_steps[0].value);
  } else if (op.kind != "txn" && op.kind != "range" && op.then_steps.size() == 1) {
    return AddStep(op.then_steps[0], out);
  } else {
    (*out)["op"] = "txn";
    (*out)["compare"] = ordered_json::array();
    for (const Compare& compare : op.compares) {
      (*out)["compare"].push_back({{"key", ToJson(compare.key)}, {"value", ToJson(compare.value)}});
    }
    (*out)["then"] = ToJson(op.then_steps);
    if (!op.else_steps.empty()) (*out)["else"] = ToJson(op.else_steps);
  }
  if (op.succeeded) {
    (*out)["succeeded"] = *op.succeeded;
  } else if (op.compares.empty() && op.outcome == Outcome::kOk) {
    (*out)["succeeded"] = true;
  }
}

}  // namespace

StatusOr<Operation> ParseOperation(std::string_view line) {
  const json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return Bad("is not JSON");
  Fields fields(parsed);
  Operation op;
  op.kind = fields.Text("op");
  op.client = fields.Text("client");
  op.invoke_ns = fields.Number("invoke");
  op.revision = fields.NumberOr0("revision");
  const std::string outcome = fields.Text("outcome");
  if (outcome == "ok") {
    op.outcome = Outcome::kOk;
    op.return_ns = fields.Number("return");
    if (op.return_ns < op.invoke_ns) fields.Fail("is before 'invoke'", "return");
  } else if (outcome == "fail") {
    op.outcome = Outcome::kFail;
  } else if (outcome != "unknown") {
    fields.Fail("is ok, fail or unknown", "outcome");
  }
  ReadBody(&fields, op.outcome == Outcome::kOk, &op);
  RefuseOtherFields(op.kind, &fields);
  RAFTKV_RETURN_IF_ERROR(fields.status());
  return op;
}

StatusOr<History> ReadHistory(std::istream& in) {
  History history;
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    StatusOr<Operation> op = ParseOperation(line);
    if (!op.ok()) return Bad("line " + std::to_string(number) + ": " + op.status().message());
    op->line = number;
    history.push_back(*std::move(op));
  }
  if (in.bad()) return Status(Code::kIoError, "the history can't be read to its end");
  ExpandRanges(&history);
  return history;
}

void ExpandRanges(History* history) {
  std::set<std::string> keys;
  for (const Operation& op : *history) {
    for (const Compare& compare : op.compares) keys.insert(compare.key);
    for (const Step& step : op.then_steps) {
      // Where a range begins need not be a key, unless it asks for that one.
      if (!op.range_end || step.known || op.range_end->empty()) keys.insert(step.key);
    }
    for (const Step& step : op.else_steps) keys.insert(step.key);
  }
  for (Operation& op : *history) {
    // One that no store can have answered stays as it is, with all that is wrong with it.
    if (!op.range_end || !WhyImpossible(op).empty()) continue;
    const std::string first = op.then_steps[0].key;
    std::map<std::string, Step> steps;
    for (auto key = keys.lower_bound(first);
         key != keys.end() && IsInRange(*key, first, *op.range_end); ++key) {
      steps[*key].key = *key;
      steps[*key].known = op.outcome == Outcome::kOk;
    }
    for (Step& found : op.then_steps) {
      if (found.known) steps[found.key] = std::move(found);
    }
    op.then_steps.clear();
    for (auto& [key, step] : steps) op.then_steps.push_back(std::move(step));
    op.range_end.reset();
  }
}

std::string FormatOperation(const Operation& op) {
  ordered_json out;
  out["client"] = op.client;
  out["op"] = op.kind;
  AddBody(op, &out);
  out["invoke"] = op.invoke_ns;
  if (op.outcome == Outcome::kOk) out["return"] = op.return_ns;
  out["outcome"] = op.outcome == Outcome::kOk     ? "ok"
                   : op.outcome == Outcome::kFail ? "fail"
                                                  : "unknown";
  if (op.revision != 0) out["revision"] = op.revision;
  // Keys and values are text or hex; the names of the client and of the operation are text always.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace raftkv::check
