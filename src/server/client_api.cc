#include "server/client_api.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>

#include "server/accept_call.h"
#include "server/server_ports.h"
#include "server/unary_call.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// Calls of one method that can be accepted without a turn of the queue's thread.
constexpr int kAcceptsHot = 64;

// Room for what surrounds a request of the largest size, as etcd.
constexpr int kReceiveOverheadBytes = 512 * 1024;

// The write's session, from the metadata raftkv-client and raftkv-sequence.
Status ReadSession(const grpc::ServerContext& context, store::SessionRef* session) {
  const auto& metadata = context.client_metadata();
  const auto client = metadata.find("raftkv-client");
  const auto sequence = metadata.find("raftkv-sequence");
  if (client == metadata.end()) {
    // Without the other half it would be no session, and a retry not safe.
    return sequence == metadata.end() ? Status::Ok() : ErrEmptySessionClient();
  }
  if (sequence != metadata.end()) {
    const char* last = sequence->second.data() + sequence->second.size();
    const auto [end, error] = std::from_chars(sequence->second.data(), last, session->sequence);
    if (error != std::errc() || end != last) session->sequence = 0;
  }
  session->client.assign(client->second.data(), client->second.size());
  if (session->client.empty()) return ErrEmptySessionClient();
  return store::ValidateSession(*session);
}

}  // namespace

ClientApi::ClientApi(Backend* backend, const AdminHooks& hooks, OpenCalls* open)
    : backend_(backend),
      open_(open),
      admin_(backend, hooks, open),
      health_(open),
      reflection_(
          {etcdserverpb::KV::service_full_name(), etcdserverpb::Cluster::service_full_name(),
           etcdserverpb::Maintenance::service_full_name(),
           grpc::health::v1::Health::service_full_name(),
           grpc::reflection::v1alpha::ServerReflection::service_full_name()},
          open) {}

StatusOr<std::unique_ptr<ClientApi>> ClientApi::Start(const ServerOptions& options,
                                                      Backend* backend, const AdminHooks& hooks,
                                                      EventLoop* loop) {
  std::unique_ptr<ClientApi> api(new ClientApi(backend, hooks, loop->open()));
  grpc::ServerBuilder builder;
  SetServerArguments(&builder);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_request_bytes) +
                                   kReceiveOverheadBytes);
  std::vector<int> bound;
  AddPorts(&builder, options.listen_client_urls, &bound);
  builder.RegisterService(&api->kv_);
  api->admin_.Register(&builder);
  builder.RegisterService(api->health_.service());
  builder.RegisterService(api->reflection_.service());
  grpc::ServerCompletionQueue* const queue =
      loop->AddServer(&builder, EventLoop::NewCalls::kAtOnce);
  for (uint32_t i = 1; i < options.client_threads; ++i) {
    api->queues_.push_back(builder.AddCompletionQueue());
  }
  api->server_ = builder.BuildAndStart();
  const Status ports = CheckPorts(options.listen_client_urls, bound);
  if (api->server_ == nullptr || !ports.ok()) {
    if (api->server_) api->Shutdown(std::chrono::system_clock::now());
    api->Join();
    if (!ports.ok()) return ports;
    return Status(Code::kInternal, "can't start the client API");
  }
  api->AcceptOn(queue);
  api->admin_.Accept(queue);
  api->health_.Accept(queue);
  api->reflection_.Accept(queue);
  for (auto& more : api->queues_) {
    api->AcceptOn(more.get());
    api->threads_.emplace_back([q = more.get()] {
      void* tag = nullptr;
      bool ok = false;
      while (q->Next(&tag, &ok)) {
        static_cast<Tag*>(tag)->Taken();
        static_cast<Tag*>(tag)->Proceed(ok);
      }
    });
  }
  return api;
}

ClientApi::~ClientApi() { Join(); }

void ClientApi::Shutdown(std::chrono::system_clock::time_point deadline) {
  health_.End();
  server_->Shutdown(deadline);
}

void ClientApi::Join() {
  admin_.Stop();
  if (!threads_.empty() && !open_->WaitForNone()) {
    spdlog::error("stopping although calls are open that nobody has answered");
  }
  for (auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
  // A queue must be empty before it goes; without a thread (a start that failed) empty it here.
  if (threads_.empty()) {
    for (auto& queue : queues_) {
      void* tag = nullptr;
      bool ok = false;
      while (queue->Next(&tag, &ok)) {
      }
    }
  }
  threads_.clear();
  queues_.clear();
}

void ClientApi::AcceptOn(grpc::ServerCompletionQueue* queue) {
  for (int i = 0; i < kAcceptsHot; ++i) {
    AcceptWrites(queue);
    AcceptReads(queue);
  }
  AcceptCompact(queue);
}

namespace {

// A handler for a write: reads the session, then calls `method` of the backend.
template <typename Request, typename Response, typename Method>
auto WriteHandler(Backend* backend, Method method) {
  return [backend, method](UnaryCall<Request, Response>* call) {
    store::SessionRef session;
    if (Status status = ReadSession(call->context(), &session); !status.ok()) {
      call->Finish(status, {});
      return;
    }
    (backend->*method)(std::move(call->request()), session,
                       Answer<UnaryCall<Request, Response>, Response>(call));
  };
}

}  // namespace

void ClientApi::AcceptWrites(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT: ten of its names in a row
  RAFTKV_ACCEPT(kv_, Put, PutRequest, PutResponse,
                (WriteHandler<PutRequest, PutResponse>(backend_, &Backend::Put)));
  RAFTKV_ACCEPT(kv_, Txn, TxnRequest, TxnResponse,
                (WriteHandler<TxnRequest, TxnResponse>(backend_, &Backend::Txn)));
  RAFTKV_ACCEPT(
      kv_, DeleteRange, DeleteRangeRequest, DeleteRangeResponse,
      (WriteHandler<DeleteRangeRequest, DeleteRangeResponse>(backend_, &Backend::DeleteRange)));
}

void ClientApi::AcceptReads(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT
  RAFTKV_ACCEPT(kv_, Range, RangeRequest, RangeResponse,
                (PlainHandler<RangeRequest, RangeResponse>(backend_, &Backend::Range)));
}

void ClientApi::AcceptCompact(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT
  RAFTKV_ACCEPT(kv_, Compact, CompactionRequest, CompactionResponse,
                (PlainHandler<CompactionRequest, CompactionResponse>(backend_, &Backend::Compact)));
}

}  // namespace raftkv::server
