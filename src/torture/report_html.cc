#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "torture/report.h"

namespace raftkv::torture {
namespace {

constexpr double kWidth = 1100;
constexpr double kHeight = 130;

constexpr char kStyle[] = R"(
body{font:14px system-ui,sans-serif;margin:2em auto;max-width:1160px;color:#222}
h1{font-size:20px}h2{font-size:15px;margin:1.4em 0 .3em}
svg{display:block;background:#fafafa;border:1px solid #ddd;overflow:visible}
text{font:10px system-ui,sans-serif;fill:#555}
pre{background:#f5f5f5;padding:1em;white-space:pre-wrap}
.pass{color:#17733a}.fail{color:#b3261e}
.fault{fill:#d9480f}.fault:hover{fill:#8a2c06}.heal{fill:#f7c59f}
.band{fill:#d9480f;opacity:.08}
.ok{stroke:#1c7ed6}.unknown{stroke:#b3261e}.p50{stroke:#1c7ed6}.p99{stroke:#e8890c}
polyline{fill:none;stroke-width:1.2}
.leader{stroke:#5f3dc4;stroke-width:1.5}
)";

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string Number(double number) {
  std::string text = std::to_string(std::round(number * 10) / 10);
  text.resize(text.find('.') + 2);
  return text;
}

// Draws over the seconds of the run.
class Page {
 public:
  explicit Page(const Report& report)
      : report_(report), seconds_(std::max<size_t>(report.timeline.size(), 1)) {}

  std::string Draw() {
    const bool pass = ExitCode(report_) == 0;
    out_ = "<!doctype html><meta charset=utf-8><title>raftkv-torture, seed " +
           std::to_string(report_.options.seed) + "</title><style>" + kStyle + "</style>";
    out_ += std::string("<h1>raftkv-torture: <span class=") + (pass ? "pass>PASS" : "fail>") +
            (pass                     ? ""
             : ExitCode(report_) == 1 ? "FAIL"
                                      : "NOT PROVEN") +
            "</span></h1><pre>" + Escape(TextReport(report_)) + "</pre>";
    Faults();
    Chart(
        "Operations a second: <span style='color:#1c7ed6'>succeeded</span>, "
        "<span style='color:#b3261e'>without an answer</span>",
        {{"ok", [](const Second& s) { return static_cast<double>(s.ok); }},
         {"unknown", [](const Second& s) { return static_cast<double>(s.unknown); }}},
        "");
    Chart(
        "Latency: <span style='color:#1c7ed6'>half within</span>, "
        "<span style='color:#e8890c'>99% within</span>",
        {{"p50", [](const Second& s) { return Percentile(s.latencies_us, 0.5) / 1000.0; }},
         {"p99", [](const Second& s) { return Percentile(s.latencies_us, 0.99) / 1000.0; }}},
        " ms");
    Leaders();
    return out_;
  }

 private:
  struct Series {
    const char* name;
    std::function<double(const Second&)> value;
  };

  double X(int64_t ns) const {
    return static_cast<double>(ns) / 1e9 / static_cast<double>(seconds_) * kWidth;
  }

  void Begin(const std::string& title, double height) {
    out_ += "<h2>" + title + "</h2><svg width=" + Number(kWidth) +
            " height=" + Number(height + 16) + " viewBox='0 0 " + Number(kWidth) + " " +
            Number(height + 16) + "'>";
    const size_t step = std::max<size_t>(1, seconds_ / 12);
    for (size_t s = 0; s < seconds_; s += step) {
      out_ += "<text x=" + Number(X(static_cast<int64_t>(s) * 1'000'000'000)) +
              " y=" + Number(height + 12) + ">" + std::to_string(s) + " s</text>";
    }
  }

  void Bar(const char* style, int64_t from, int64_t to, double y, double height,
           const std::string& title) {
    out_ += std::string("<rect class=") + style + " x=" + Number(X(from)) + " y=" + Number(y) +
            " width=" + Number(std::max(1.0, X(to) - X(from))) + " height=" + Number(height) +
            "><title>" + Escape(title) + "</title></rect>";
  }

  // A row a kind; pale until an operation succeeded again.
  void Faults() {
    std::vector<std::string> rows;
    for (const auto& [fault, name] : FaultNames()) {
      if (report_.options.faults.contains(fault)) rows.push_back(name);
    }
    Begin("Faults", 16.0 * static_cast<double>(rows.size()));
    for (size_t row = 0; row < rows.size(); ++row) {
      const double y = 16.0 * static_cast<double>(row);
      for (const FaultSpan& fault : report_.faults) {
        if (fault.name != rows[row]) continue;
        if (fault.served_ns > 0) {
          Bar("heal", fault.end_ns, fault.served_ns, y + 2, 12, "until an operation succeeded");
        }
        Bar("fault", fault.begin_ns, fault.end_ns, y + 2, 12, fault.name + ": " + fault.what);
      }
      out_ += "<text x=2 y=" + Number(y + 11) + ">" + Escape(rows[row]) + "</text>";
    }
    out_ += "</svg>";
  }

  void Chart(const std::string& title, const std::vector<Series>& all, const std::string& unit) {
    double top = 1;
    std::vector<std::vector<double>> values;
    for (const Series& series : all) {
      values.emplace_back();
      for (const Second& second : report_.timeline) {
        values.back().push_back(series.value(second));
        top = std::max(top, values.back().back());
      }
    }
    Begin(title, kHeight);
    for (const FaultSpan& fault : report_.faults) {
      Bar("band", fault.begin_ns, fault.end_ns, 0, kHeight, fault.name + ": " + fault.what);
    }
    for (size_t i = 0; i < all.size(); ++i) {
      out_ += std::string("<polyline class=") + all[i].name + " points='";
      for (size_t s = 0; s < values[i].size(); ++s) {
        out_ += Number((static_cast<double>(s) + 0.5) / static_cast<double>(seconds_) * kWidth) +
                "," + Number(kHeight - values[i][s] / top * (kHeight - 12)) + " ";
      }
      out_ += "'/>";
    }
    out_ += "<text x=2 y=10>" + Number(top) + unit + "</text></svg>";
  }

  void Leaders() {
    Begin("Leaders", 40);
    for (const LeaderChange& change : report_.leaders) {
      const std::string x = Number(X(change.at_ns));
      out_ += "<line class=leader x1=" + x + " x2=" + x + " y1=16 y2=40><title>term " +
              std::to_string(change.term) + "</title></line><text x=" + x + " y=12>" +
              Escape(change.leader) + "</text>";
    }
    out_ += "</svg>";
  }

  const Report& report_;
  const size_t seconds_;
  std::string out_;
};

}  // namespace

std::string HtmlReport(const Report& report) { return Page(report).Draw(); }

}  // namespace raftkv::torture
