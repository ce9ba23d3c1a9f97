// The HTTP edge: the REST API on keys, health, version and metrics. See docs/rest-api.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "server/backend.h"
#include "server/options.h"

namespace httplib {
class Server;
}

namespace raftkv::server {

// Each connection has a thread of its own for as long as it lives (cpp-httplib); the number of
// threads is bounded.
class HttpApi {
 public:
  // Binds and serves. `metrics` gives the text of /metrics. kUnavailable when an address can't be
  // bound.
  static StatusOr<std::unique_ptr<HttpApi>> Start(const ServerOptions& options, Backend* backend,
                                                  std::function<std::string()> metrics);
  ~HttpApi();  // Stops.

  // Takes no more requests, finishes those under way; what is not finished by `deadline` is cut
  // off. Idempotent.
  void Stop(std::chrono::system_clock::time_point deadline);

 private:
  HttpApi() = default;
  void CloseConnections() const;
  std::vector<std::unique_ptr<httplib::Server>> servers_;
  std::vector<std::thread> threads_;
  std::set<uint16_t> ports_;
};

}  // namespace raftkv::server
