#include "server/http_api.h"

#include <httplib.h>
#include <spdlog/spdlog.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <map>
#include <nlohmann/json.hpp>

#include "server/http_target.h"
#include "server/percent.h"
#include "server/rpc_status.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

using nlohmann::json;

constexpr char kKeyPrefix[] = "/v1/kv/";
// Connections served at once: each has a thread.
constexpr size_t kThreads = 32;
// Of these, requests for keys: they may have to wait, for a leader or for their own body, and
// /healthz, /readyz and /metrics must not wait with them.
constexpr int kKeyRequestsMax = 24;
// A body that takes longer to come is given up.
constexpr auto kBodyTimeMax = std::chrono::seconds(30);
constexpr int64_t kListLimitDefault = 100;
constexpr int64_t kListLimitMax = 10'000;

void SendError(httplib::Response& response, int http_status, std::string_view code,
               const std::string& message) {
  response.status = http_status;
  // A message may quote what the client sent, which may be any bytes.
  const json body{{"error", {{"code", code}, {"message", message}}}};
  response.set_content(body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
                       "application/json");
}

void SendError(httplib::Response& response, const Status& status) {
  SendError(response, ToHttpStatus(status.code()), CodeName(status.code()), status.message());
}

std::string Base64(const std::string& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = (group << 8) | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      out.push_back(i + j <= bytes.size() ? kDigits[(group >> (18 - 6 * j)) & 63] : '=');
    }
  }
  return out;
}

Status RefuseUnknownParameters(const Target& target,
                               std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : target.query) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return {Code::kInvalidArgument, "unknown query parameter '" + name + "'"};
    }
  }
  return Status::Ok();
}

StatusOr<int64_t> NumberParameter(const Target& target, const std::string& name, int64_t fallback) {
  const auto it = target.query.find(name);
  if (it == target.query.end()) return fallback;
  int64_t value = 0;
  const char* last = it->second.data() + it->second.size();
  const auto [end, error] = std::from_chars(it->second.data(), last, value);
  if (error != std::errc() || end != last || value < 0) {
    return Status(Code::kInvalidArgument, "query parameter '" + name + "' is not a number");
  }
  return value;
}

StatusOr<bool> BoolParameter(const Target& target, const std::string& name) {
  const auto it = target.query.find(name);
  if (it == target.query.end() || it->second == "false") return false;
  if (it->second == "true") return true;
  return Status(Code::kInvalidArgument, "query parameter '" + name + "' is not true or false");
}

StatusOr<bool> SerializableParameter(const Target& target) {
  const auto it = target.query.find("consistency");
  if (it == target.query.end() || it->second == "linearizable") return false;
  if (it->second == "serializable") return true;
  return Status(Code::kInvalidArgument, "consistency is 'linearizable' or 'serializable'");
}

StatusOr<store::SessionRef> ReadSession(const httplib::Request& request) {
  store::SessionRef session;
  if (!request.has_header("X-Raftkv-Client")) {
    // Without the other half it would be no session, and a retry not safe. (The library drops a
    // header without a value.)
    if (request.has_header("X-Raftkv-Sequence")) return ErrEmptySessionClient();
    return session;
  }
  session.client = request.get_header_value("X-Raftkv-Client");
  if (session.client.empty()) return ErrEmptySessionClient();
  const std::string sequence = request.get_header_value("X-Raftkv-Sequence");
  const char* last = sequence.data() + sequence.size();
  const auto [end, error] = std::from_chars(sequence.data(), last, session.sequence);
  if (error != std::errc() || end != last) session.sequence = 0;
  RAFTKV_RETURN_IF_ERROR(store::ValidateSession(session));
  return session;
}

void SetRevisionHeader(httplib::Response& response, const etcdserverpb::ResponseHeader& header) {
  response.set_header("X-Raftkv-Revision", std::to_string(header.revision()));
}

void SetKeyHeaders(httplib::Response& response, const mvccpb::KeyValue& kv) {
  response.set_header("X-Raftkv-Create-Revision", std::to_string(kv.create_revision()));
  response.set_header("X-Raftkv-Mod-Revision", std::to_string(kv.mod_revision()));
  response.set_header("X-Raftkv-Version", std::to_string(kv.version()));
}

// Waits for an asynchronous answer on this connection's own thread.
template <typename Response>
class Waiter {
 public:
  Done<Response> Callback() {
    return [state = state_](Status status, Response&& response) {
      state->set_value({std::move(status), std::move(response)});
    };
  }
  std::pair<Status, Response> Wait() { return state_->get_future().get(); }

 private:
  std::shared_ptr<std::promise<std::pair<Status, Response>>> state_ =
      std::make_shared<std::promise<std::pair<Status, Response>>>();
};

// The handlers: each is called on a connection's thread and blocks it.
class KeyHandlers {
 public:
  KeyHandlers(Backend* backend, size_t body_max) : backend_(backend), body_max_(body_max) {}

  void Get(const httplib::Request& request, httplib::Response& response) const;
  void Write(const httplib::Request& request, httplib::Response& response,
             const httplib::ContentReader& content) const;

 private:
  Status GetKey(const Target& target, const std::string& key, httplib::Response& response) const;
  Status List(const Target& target, httplib::Response& response) const;
  Status WriteKey(const httplib::Request& request, const Target& target, const std::string& key,
                  std::string value, httplib::Response& response) const;
  Status PutKey(const std::string& key, std::string value, const store::SessionRef& session,
                httplib::Response& response) const;
  Status PutIf(bool exists, const std::string& key, std::string value,
               const store::SessionRef& session, httplib::Response& response) const;
  Status DeleteKey(const std::string& key, const store::SessionRef& session,
                   httplib::Response& response) const;

  Backend* const backend_;
  const size_t body_max_;
};

StatusOr<std::string> KeyOf(const Target& target) {
  std::string key = target.path.substr(std::min(target.path.size(), sizeof(kKeyPrefix) - 1));
  if (key.empty()) return Status(Code::kInvalidArgument, "the key is missing: /v1/kv/{key}");
  return key;
}

void KeyHandlers::Get(const httplib::Request& request, httplib::Response& response) const {
  const StatusOr<Target> target = ParseTarget(request.target);
  if (!target.ok()) return SendError(response, target.status());
  Status status;
  if (target->path == "/v1/kv" || target->path == "/v1/kv/") {
    status = List(*target, response);
  } else if (target->path.starts_with(kKeyPrefix)) {
    const StatusOr<std::string> key = KeyOf(*target);
    status = key.ok() ? GetKey(*target, *key, response) : key.status();
  } else {
    return SendError(response, 404, "not_found", "no such path; see /v1/kv/{key}");
  }
  if (!status.ok()) SendError(response, status);
}

Status KeyHandlers::GetKey(const Target& target, const std::string& key,
                           httplib::Response& response) const {
  RAFTKV_RETURN_IF_ERROR(RefuseUnknownParameters(target, {"consistency", "revision"}));
  etcdserverpb::RangeRequest range;
  range.set_key(key);
  RAFTKV_ASSIGN_OR_RETURN(const bool serializable, SerializableParameter(target));
  range.set_serializable(serializable);
  RAFTKV_ASSIGN_OR_RETURN(const int64_t revision, NumberParameter(target, "revision", 0));
  range.set_revision(revision);
  Waiter<etcdserverpb::RangeResponse> waiter;
  backend_->Range(std::move(range), waiter.Callback());
  auto [status, answer] = waiter.Wait();
  RAFTKV_RETURN_IF_ERROR(status);
  SetRevisionHeader(response, answer.header());
  if (answer.kvs_size() == 0) return {Code::kNotFound, "key not found"};
  SetKeyHeaders(response, answer.kvs(0));
  response.set_content(answer.kvs(0).value(), "application/octet-stream");
  return Status::Ok();
}

// The smallest key that is above every key with this prefix; "\0" stands for no end.
std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty()) {
    if (prefix.back() != '\xff') {
      ++prefix.back();
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string(1, '\0');
}

Status KeyHandlers::List(const Target& target, httplib::Response& response) const {
  RAFTKV_RETURN_IF_ERROR(RefuseUnknownParameters(
      target, {"prefix", "limit", "after", "revision", "consistency", "keys_only"}));
  const auto text = [&target](const char* name) {
    const auto it = target.query.find(name);
    return it == target.query.end() ? std::string() : it->second;
  };
  const std::string prefix = text("prefix");
  std::string start = std::max(prefix, std::string(1, '\0'));
  // A page starts just behind the last one's last key.
  if (const std::string after = text("after"); !after.empty()) {
    start = std::max(start, after + '\0');
  }
  etcdserverpb::RangeRequest range;
  range.set_key(start);
  range.set_range_end(PrefixEnd(prefix));
  RAFTKV_ASSIGN_OR_RETURN(const int64_t limit, NumberParameter(target, "limit", kListLimitDefault));
  if (limit < 1 || limit > kListLimitMax) {
    return {Code::kInvalidArgument, "limit is a number from 1 to " + std::to_string(kListLimitMax)};
  }
  range.set_limit(limit);
  RAFTKV_ASSIGN_OR_RETURN(const int64_t revision, NumberParameter(target, "revision", 0));
  range.set_revision(revision);
  RAFTKV_ASSIGN_OR_RETURN(const bool serializable, SerializableParameter(target));
  range.set_serializable(serializable);
  RAFTKV_ASSIGN_OR_RETURN(const bool keys_only, BoolParameter(target, "keys_only"));
  range.set_keys_only(keys_only);
  Waiter<etcdserverpb::RangeResponse> waiter;
  backend_->Range(std::move(range), waiter.Callback());
  auto [status, answer] = waiter.Wait();
  RAFTKV_RETURN_IF_ERROR(status);
  SetRevisionHeader(response, answer.header());
  json kvs = json::array();
  for (const auto& kv : answer.kvs()) {
    json item{{"key", Base64(kv.key())},
              {"create_revision", kv.create_revision()},
              {"mod_revision", kv.mod_revision()},
              {"version", kv.version()}};
    if (!keys_only) item["value"] = Base64(kv.value());
    kvs.push_back(std::move(item));
  }
  json body{{"revision", answer.header().revision()}, {"kvs", kvs}, {"more", answer.more()}};
  if (answer.more() && answer.kvs_size() > 0) {
    body["next"] = PercentEncode(answer.kvs(answer.kvs_size() - 1).key());
  }
  response.set_content(body.dump() + "\n", "application/json");
  return Status::Ok();
}

void KeyHandlers::Write(const httplib::Request& request, httplib::Response& response,
                        const httplib::ContentReader& content) const {
  const StatusOr<Target> target = ParseTarget(request.target);
  if (!target.ok()) return SendError(response, target.status());
  if (!target->path.starts_with(kKeyPrefix)) {
    return SendError(response, 404, "not_found", "no such path; see /v1/kv/{key}");
  }
  const StatusOr<std::string> key = KeyOf(*target);
  if (!key.ok()) return SendError(response, key.status());
  std::string value;
  bool too_large = false;
  // Neither header means no body (RFC 9112, 6.3); the library would wait for one.
  const bool has_body =
      request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
  if (has_body && request.is_multipart_form_data()) {
    // The library takes it apart; the bytes as they were sent can't be had.
    response.set_header("Connection", "close");
    return SendError(response, 415, "unsupported_media_type",
                     "a value is the bytes of the body: multipart/form-data is not taken");
  }
  if (has_body) {
    const auto deadline = std::chrono::steady_clock::now() + kBodyTimeMax;
    content([&](const char* data, size_t size) {
      too_large = too_large || value.size() + size > body_max_;
      if (!too_large) value.append(data, size);
      return !too_large && std::chrono::steady_clock::now() < deadline;
    });
  }
  if (too_large || response.status == 413) {
    return SendError(response, 413, "request_too_large",
                     "the value is larger than --max-request-bytes");
  }
  if (response.status >= 400) {  // the body did not come whole
    return SendError(response, 400, "invalid_argument", "the request body could not be read");
  }
  const Status status = WriteKey(request, *target, *key, std::move(value), response);
  if (status.ok()) return;
  if (status == store::ErrRequestTooLarge()) {
    return SendError(response, 413, "request_too_large", status.message());
  }
  SendError(response, status);
}

Status KeyHandlers::WriteKey(const httplib::Request& request, const Target& target,
                             const std::string& key, std::string value,
                             httplib::Response& response) const {
  RAFTKV_ASSIGN_OR_RETURN(const store::SessionRef session, ReadSession(request));
  if (request.method == "DELETE") {
    RAFTKV_RETURN_IF_ERROR(RefuseUnknownParameters(target, {}));
    return DeleteKey(key, session, response);
  }
  if (request.method == "POST") {
    RAFTKV_RETURN_IF_ERROR(RefuseUnknownParameters(target, {}));
    return PutIf(/*exists=*/false, key, std::move(value), session, response);
  }
  RAFTKV_RETURN_IF_ERROR(RefuseUnknownParameters(target, {"upsert"}));
  RAFTKV_ASSIGN_OR_RETURN(const bool upsert, BoolParameter(target, "upsert"));
  if (upsert) return PutKey(key, std::move(value), session, response);
  return PutIf(/*exists=*/true, key, std::move(value), session, response);
}

Status KeyHandlers::PutKey(const std::string& key, std::string value,
                           const store::SessionRef& session, httplib::Response& response) const {
  etcdserverpb::PutRequest put;
  put.set_key(key);
  put.set_value(std::move(value));
  Waiter<etcdserverpb::PutResponse> waiter;
  backend_->Put(put, session, waiter.Callback());
  auto [status, answer] = waiter.Wait();
  RAFTKV_RETURN_IF_ERROR(status);
  SetRevisionHeader(response, answer.header());
  return Status::Ok();
}

// Creates or updates, each only where that is what it is.
Status KeyHandlers::PutIf(bool exists, const std::string& key, std::string value,
                          const store::SessionRef& session, httplib::Response& response) const {
  etcdserverpb::TxnRequest txn;
  auto* compare = txn.add_compare();
  compare->set_key(key);
  compare->set_target(etcdserverpb::Compare::VERSION);
  compare->set_result(exists ? etcdserverpb::Compare::GREATER : etcdserverpb::Compare::EQUAL);
  compare->set_version(0);
  auto* put = txn.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(std::move(value));
  Waiter<etcdserverpb::TxnResponse> waiter;
  backend_->Txn(std::move(txn), session, waiter.Callback());
  auto [status, answer] = waiter.Wait();
  RAFTKV_RETURN_IF_ERROR(status);
  SetRevisionHeader(response, answer.header());
  if (!answer.succeeded()) {
    return exists ? Status(Code::kNotFound,
                           "key not found; POST creates, PUT ?upsert=true does either")
                  : Status(Code::kAlreadyExists, "key exists; PUT updates it");
  }
  response.status = exists ? 200 : 201;
  return Status::Ok();
}

Status KeyHandlers::DeleteKey(const std::string& key, const store::SessionRef& session,
                              httplib::Response& response) const {
  etcdserverpb::DeleteRangeRequest range;
  range.set_key(key);
  Waiter<etcdserverpb::DeleteRangeResponse> waiter;
  backend_->DeleteRange(range, session, waiter.Callback());
  auto [status, answer] = waiter.Wait();
  RAFTKV_RETURN_IF_ERROR(status);
  SetRevisionHeader(response, answer.header());
  if (answer.deleted() == 0) return {Code::kNotFound, "key not found"};
  return Status::Ok();
}

void AddStatusRoutes(httplib::Server* server, Backend* backend,
                     const std::function<std::string()>& metrics) {
  server->Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server->Get("/readyz", [backend](const httplib::Request&, httplib::Response& response) {
    auto promise = std::make_shared<std::promise<Status>>();
    backend->Ready([promise](Status status) { promise->set_value(std::move(status)); });
    const Status status = promise->get_future().get();
    if (!status.ok()) return SendError(response, 503, "not_ready", status.message());
    response.set_content("ok\n", "text/plain");
  });
  server->Get("/version", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(json{{"raftkv", Version()}, {"etcd_api", kEtcdApiVersion}}.dump() + "\n",
                         "application/json");
  });
  server->Get("/metrics", [metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics(), "text/plain; version=0.0.4");
  });
}

void AddKeyRoutes(httplib::Server* server, Backend* backend) {
  auto handlers = std::make_shared<KeyHandlers>(
      backend, static_cast<size_t>(backend->options().max_request_bytes));
  // Keys may hold any byte: '.' would not match a line feed.
  const std::string any = R"([\s\S]*)";
  using httplib::Request;
  using httplib::Response;
  auto under_way = std::make_shared<std::atomic<int>>(0);
  const auto admit = [under_way](Response& response, const std::function<void()>& handle) {
    if (under_way->fetch_add(1) < kKeyRequestsMax) {
      handle();
    } else {
      response.set_header("Connection", "close");  // its body, if it has one, is not read
      SendError(response, store::ErrTooManyRequests());
    }
    under_way->fetch_sub(1);
  };
  server->Get(any, [handlers, admit](const Request& q, Response& r) {
    admit(r, [&] { handlers->Get(q, r); });
  });
  // With a content reader, because the library cuts form-encoded bodies (curl's default) at 8 KiB
  // and would parse them; a value is bytes, whatever its content type.
  const auto write = [handlers, admit](const Request& q, Response& r,
                                       const httplib::ContentReader& c) {
    admit(r, [&] { handlers->Write(q, r, c); });
  };
  server->Post(any, write);
  server->Put(any, write);
  server->Delete(any, write);
}

}  // namespace

StatusOr<std::unique_ptr<HttpApi>> HttpApi::Start(const ServerOptions& options, Backend* backend,
                                                  std::function<std::string()> metrics) {
  std::unique_ptr<HttpApi> api(new HttpApi);
  for (const Url& url : options.listen_http_urls) {
    auto server = std::make_unique<httplib::Server>();
    server->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server->set_tcp_nodelay(true);
    // Of bodies that no handler reads; those of values have their own check.
    server->set_payload_max_length(options.max_request_bytes + 1);
    server->set_keep_alive_max_count(1'000'000);
    server->set_keep_alive_timeout(2);  // seconds; also how long an idle connection delays a stop
    // The library shares ports by default; a second process must be refused instead.
    server->set_socket_options([](int socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server->set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) {
        SendError(response, response.status, "http_" + std::to_string(response.status),
                  "the request was refused by the HTTP layer");
      }
    });
    AddStatusRoutes(server.get(), backend, metrics);
    AddKeyRoutes(server.get(), backend);
    if (!server->bind_to_port(url.host, url.port)) {
      return Status(Code::kUnavailable,
                    "can't listen on " + url.HostPort() +
                        " (HTTP): the port is in use or the address is not this machine's; "
                        "stop what uses it or choose another --listen-http-urls");
    }
    api->servers_.push_back(std::move(server));
    api->ports_.insert(url.port);
  }
  for (auto& server : api->servers_) {
    api->threads_.emplace_back([s = server.get()] { s->listen_after_bind(); });
    // A stop() before the loop runs would be lost.
    while (!server->is_running()) std::this_thread::yield();
  }
  return api;
}

HttpApi::~HttpApi() { Stop(std::chrono::system_clock::now()); }

void HttpApi::Stop(std::chrono::system_clock::time_point deadline) {
  for (auto& server : servers_) server->stop();
  std::promise<void> ended;
  std::thread closer([this, deadline, done = ended.get_future()] {
    if (done.wait_until(deadline) == std::future_status::timeout) CloseConnections();
  });
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  ended.set_value();
  closer.join();
}

// The library has no way to end a connection whose client takes its time. They are the sockets of
// this process that are connected at one of its ports.
void HttpApi::CloseConnections() const {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    if (address.ss_family != AF_INET && address.ss_family != AF_INET6) continue;
    const in_port_t port = address.ss_family == AF_INET6
                               ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                               : reinterpret_cast<const sockaddr_in&>(address).sin_port;
    if (ports_.contains(ntohs(port))) shutdown(fd, SHUT_RDWR);
  }
}

}  // namespace raftkv::server
