// The target of a REST request: path and query (src/server/http_target.h, percent.h).
#include "fuzz/fuzz.h"
#include "server/http_target.h"
#include "server/percent.h"

namespace raftkv::fuzz {

FUZZ_TARGET(rest_target) {
  (void)server::ParseTarget(std::string(input));
  const std::string encoded = server::PercentEncode(input);
  const std::optional<std::string> decoded = server::PercentDecode(encoded);
  Require(decoded && *decoded == input, "percent-encoding lost something");
  const std::string path = "/v1/kv/" + encoded + "?after=" + encoded;
  const StatusOr<server::Target> target = server::ParseTarget(path);
  Require(target.ok() && target->path == "/v1/kv/" + std::string(input) &&
              target->query.at("after") == input,
          "a key does not survive the URL");
}

}  // namespace raftkv::fuzz
