#include "server/http_target.h"

#include <algorithm>
#include <optional>

#include "server/percent.h"

namespace raftkv::server {

StatusOr<Target> ParseTarget(std::string_view raw) {
  const Status malformed(Code::kInvalidArgument,
                         "malformed percent-encoding in the URL; encode bytes as %XX");
  Target target;
  const size_t mark = std::min(raw.find('?'), raw.size());
  const auto path = PercentDecode(raw.substr(0, mark));
  if (!path) return malformed;
  target.path = *path;
  std::string_view rest = mark < raw.size() ? raw.substr(mark + 1) : "";
  while (!rest.empty()) {
    const size_t amp = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, amp);
    rest.remove_prefix(std::min(amp + 1, rest.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto name = PercentDecode(pair.substr(0, equals));
    const auto value = PercentDecode(equals < pair.size() ? pair.substr(equals + 1) : "");
    if (!name || !value) return malformed;
    target.query[*name] = *value;
  }
  return target;
}

}  // namespace raftkv::server
