#include "check/picture.h"

#include <algorithm>
#include <map>
#include <set>

namespace raftkv::check {
namespace {

// Around a violation so many more operations are shown at most, the nearest in time.
constexpr size_t kContextMax = 120;
constexpr int kStep = 26;     // pixels between two events
constexpr int kRow = 34;      // a client's row
constexpr int kMargin = 170;  // for the clients' names

constexpr char kStyle[] = R"(
body { font: 14px/1.5 system-ui, sans-serif; margin: 24px; color: #1d2733; }
h1 { font-size: 20px; } h2 { font-size: 16px; margin: 28px 0 4px; }
.scroll { overflow-x: auto; border: 1px solid #d6dde5; border-radius: 6px; margin: 8px 0; }
svg text { font: 12px ui-monospace, monospace; fill: #1d2733; }
svg .row { stroke: #e4e9ef; }
svg rect { fill: #d9e4f0; stroke: #8fa6bf; }
svg .open { stroke-dasharray: 4 3; }
svg .bad rect { fill: #ffd9d4; stroke: #c8321f; stroke-width: 2; }
pre { background: #f6f8fa; padding: 10px; border-radius: 6px; overflow-x: auto; }
)";

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// What fits into a bar.
std::string Label(const Operation& op, size_t width) {
  std::string text = op.kind;
  if (op.kind == "cas" && op.compares.size() == 1 && op.then_steps.size() == 1) {
    text += " " + Quote(op.compares[0].value) + " to " + Quote(op.then_steps[0].value);
    if (op.succeeded == false) text += " no";
  } else if (op.then_steps.size() == 1 && op.compares.empty()) {
    const Step& step = op.then_steps[0];
    if (step.kind == StepKind::kPut || step.known) text += " " + Quote(step.value);
  }
  const size_t fits = width / 8;
  return text.size() <= fits ? text : text.substr(0, fits);
}

std::string Number(int64_t n) { return std::to_string(n); }

// The violation's operations, and those near them on the same keys.
std::vector<size_t> Shown(const History& history, const Violation& violation) {
  int64_t begin = kNever, end = 0;
  for (const size_t i : violation.ops) {
    begin = std::min(begin, history[i].invoke_ns);
    end =
        std::max(end, history[i].return_ns == kNever ? history[i].invoke_ns : history[i].return_ns);
  }
  const std::set<std::string> keys(violation.keys.begin(), violation.keys.end());
  const std::set<size_t> own(violation.ops.begin(), violation.ops.end());
  std::vector<std::pair<int64_t, size_t>> near;  // by distance in time
  for (size_t i = 0; i < history.size(); ++i) {
    const Operation& op = history[i];
    const auto touches = [&keys](const auto& part) { return keys.contains(part.key); };
    if (own.contains(i) || !(std::any_of(op.compares.begin(), op.compares.end(), touches) ||
                             std::any_of(op.then_steps.begin(), op.then_steps.end(), touches) ||
                             std::any_of(op.else_steps.begin(), op.else_steps.end(), touches))) {
      continue;
    }
    const int64_t finish = op.return_ns == kNever ? op.invoke_ns : op.return_ns;
    near.push_back({std::max({begin - finish, op.invoke_ns - end, int64_t{0}}), i});
  }
  const size_t context = std::min(near.size(), kContextMax);
  std::partial_sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(context), near.end());
  std::vector<size_t> shown(violation.ops);
  for (size_t i = 0; i < context; ++i) shown.push_back(near[i].second);
  std::sort(shown.begin(), shown.end(), [&history](size_t a, size_t b) {
    return std::pair(history[a].invoke_ns, a) < std::pair(history[b].invoke_ns, b);
  });
  return shown;
}

std::string Bars(const History& history, const std::vector<size_t>& shown,
                 const std::set<size_t>& bad, int64_t zero_ns) {
  // The axis is the order of events, not their times: microseconds and seconds both stay legible.
  std::set<int64_t> times;
  std::map<std::string, int> rows;
  for (const size_t i : shown) {
    times.insert(history[i].invoke_ns);
    if (history[i].return_ns != kNever) times.insert(history[i].return_ns);
    rows.emplace(history[i].client, 0);
  }
  std::map<int64_t, int> x_of;
  for (const int64_t time : times) x_of[time] = kMargin + kStep * static_cast<int>(x_of.size());
  const int width = kMargin + kStep * (static_cast<int>(times.size()) + 1);
  int height = 8;
  std::string out;
  for (auto& [client, y] : rows) {
    y = height;
    height += kRow;
    out += "<line class=\"row\" x1=\"0\" x2=\"" + Number(width) + "\" y1=\"" +
           Number(y + kRow - 4) + "\" y2=\"" + Number(y + kRow - 4) + "\"/><text x=\"8\" y=\"" +
           Number(y + 18) + "\">" + Escape(client.substr(0, 20)) + "</text>\n";
  }
  // Those without an answer reach to the end: draw them first, so that they hide nothing.
  for (const bool answered : {false, true}) {
    for (const size_t i : shown) {
      const Operation& op = history[i];
      if ((op.return_ns != kNever) != answered) continue;
      const int x = x_of[op.invoke_ns], y = rows[op.client];
      const int x_end = answered ? std::max(x_of[op.return_ns], x + 6) : width - 4;
      out += std::string("<g") + (bad.contains(i) ? " class=\"bad\"" : "") + "><title>" +
             Escape(Describe(op, zero_ns)) + "</title><rect rx=\"3\"" +
             (answered ? "" : " class=\"open\"") + " x=\"" + Number(x) + "\" y=\"" + Number(y) +
             "\" width=\"" + Number(x_end - x) + "\" height=\"" + Number(kRow - 10) +
             "\"/><text x=\"" + Number(x + 4) + "\" y=\"" + Number(y + 16) + "\">" +
             Escape(Label(op, static_cast<size_t>(x_end - x))) + "</text></g>\n";
    }
  }
  return "<div class=\"scroll\"><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
         Number(width) + "\" height=\"" + Number(height) + "\">\n" + out + "</svg></div>\n";
}

}  // namespace

std::string Picture(const History& history, const CheckReport& report, const std::string& title) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>raftkv-check: " +
      Escape(title) + "</title><style>" + kStyle + "</style></head><body>\n<h1>" + Escape(title) +
      "</h1>\n<p>A row is a client, a bar an operation from call to return; a dashed one never "
      "returned. Left to right is the order of calls and returns, not to scale. No order of the "
      "red operations explains their answers. Point at a bar for its times.</p>\n";
  for (const Violation& violation : report.violations) {
    if (violation.ops.empty()) continue;
    const int64_t zero_ns = history[violation.ops[0]].invoke_ns;
    std::string keys;
    for (const std::string& key : violation.keys) keys += (keys.empty() ? "" : ", ") + Quote(key);
    std::string list;
    for (const size_t i : violation.ops) list += Describe(history[i], zero_ns) + "\n";
    out += "<h2>" + Escape(violation.why) + ": " + Escape(keys) + "</h2>\n" +
           Bars(history, Shown(history, violation),
                std::set<size_t>(violation.ops.begin(), violation.ops.end()), zero_ns) +
           "<pre>" + Escape(list) + "</pre>\n";
  }
  return out + "</body></html>\n";
}

}  // namespace raftkv::check
