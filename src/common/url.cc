#include "common/url.h"

#include <algorithm>
#include <charconv>

namespace raftkv {

std::string Url::HostPort() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Url::ToString() const { return "http://" + HostPort(); }

StatusOr<Url> ParseUrl(const std::string& text) {
  const auto bad = [&text](const std::string& why) {
    return Status(Code::kInvalidArgument,
                  "'" + text + "' is not a URL of the form http://host:port: " + why);
  };
  constexpr std::string_view kScheme = "http://";
  if (text.starts_with("https://")) return bad("TLS is not supported yet");
  if (!text.starts_with(kScheme)) return bad("it does not start with http://");
  std::string rest = text.substr(kScheme.size());
  if (rest.ends_with('/')) rest.pop_back();
  const size_t colon = rest.rfind(':');
  if (colon == std::string::npos) return bad("the port is missing");
  Url url;
  url.host = rest.substr(0, colon);
  const bool is_v6 = url.host.size() > 2 && url.host.starts_with('[') && url.host.ends_with(']');
  if (is_v6) url.host = url.host.substr(1, url.host.size() - 2);
  if (url.host.empty() || url.host.starts_with('/')) return bad("the host is missing");
  constexpr std::string_view kNoHostHas = "[]@?#/";
  if (std::any_of(url.host.begin(), url.host.end(), [&](char c) {
        return c <= ' ' || c > '~' || kNoHostHas.find(c) != std::string_view::npos;
      })) {
    return bad("the host has a character that no host has");
  }
  const bool has_colon = url.host.find(':') != std::string::npos;
  if (is_v6 ? !has_colon ||
                  url.host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string::npos
            : has_colon) {
    return bad("an IPv6 address is written in brackets, and nothing else has a colon");
  }
  const char* first = rest.data() + colon + 1;
  const char* last = rest.data() + rest.size();
  const auto [end, error] = std::from_chars(first, last, url.port);
  if (error != std::errc() || end != last || url.port == 0) {
    return bad("the port is not a number from 1 to 65535");
  }
  return url;
}

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (start <= text.size()) {
    const size_t comma = std::min(text.find(',', start), text.size());
    if (comma > start) parts.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

}  // namespace raftkv
