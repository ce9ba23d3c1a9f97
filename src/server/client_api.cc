#include "server/client_api.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>

#include <algorithm>
#include <charconv>

#include "server/unary_call.h"
#include "store/kv_errors.h"

namespace raftkv::server {
namespace {

// Calls of one method that can be accepted without a turn of the queue's thread.
constexpr int kAcceptsHot = 64;
constexpr int kAcceptsRare = 2;

// Room for what surrounds a request of the largest size, as etcd.
constexpr int kReceiveOverheadBytes = 512 * 1024;

// The write's session, from the metadata raftkv-client and raftkv-sequence.
Status ReadSession(const grpc::ServerContext& context, store::SessionRef* session) {
  const auto& metadata = context.client_metadata();
  const auto client = metadata.find("raftkv-client");
  if (client == metadata.end()) return Status::Ok();
  const auto sequence = metadata.find("raftkv-sequence");
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

void SetServerArguments(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->SetMaxSendMessageSize(-1);
}

void AddPorts(grpc::ServerBuilder* builder, const std::vector<Url>& urls, std::vector<int>* bound) {
  bound->assign(urls.size(), 0);
  for (size_t i = 0; i < urls.size(); ++i) {
    builder->AddListeningPort(urls[i].HostPort(), grpc::InsecureServerCredentials(), &(*bound)[i]);
  }
}

Status CheckPorts(const std::vector<Url>& urls, const std::vector<int>& bound) {
  for (size_t i = 0; i < urls.size(); ++i) {
    if (bound[i] != 0) continue;
    return {Code::kUnavailable, "can't listen on " + urls[i].HostPort() +
                                    ": the port is in use or the address is not this machine's; "
                                    "stop what uses it or choose another URL"};
  }
  return Status::Ok();
}

StatusOr<std::unique_ptr<ClientApi>> ClientApi::Start(const ServerOptions& options,
                                                      Backend* backend, const AdminHooks& hooks) {
  std::unique_ptr<ClientApi> api(new ClientApi(backend, hooks));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetServerArguments(&builder);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_request_bytes) +
                                   kReceiveOverheadBytes);
  // Reflection and what administrators ask for (admin_service.h) use the synchronous threads.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  std::vector<int> bound;
  AddPorts(&builder, options.listen_client_urls, &bound);
  builder.RegisterService(&api->kv_);
  builder.RegisterService(&api->cluster_);
  builder.RegisterService(&api->maintenance_);
  const uint32_t threads = options.client_threads != 0
                               ? options.client_threads
                               : std::max(1u, std::thread::hardware_concurrency() / 4);
  for (uint32_t i = 0; i < threads; ++i) api->queues_.push_back(builder.AddCompletionQueue());
  api->server_ = builder.BuildAndStart();
  const Status ports = CheckPorts(options.listen_client_urls, bound);
  if (api->server_ == nullptr || !ports.ok()) {
    if (api->server_) api->Shutdown(std::chrono::system_clock::now());
    api->Join();
    if (!ports.ok()) return ports;
    return Status(Code::kInternal, "can't start the client API");
  }
  api->SetServing(false);
  for (auto& queue : api->queues_) {
    api->AcceptOn(queue.get());
    api->threads_.emplace_back([q = queue.get()] {
      void* tag = nullptr;
      bool ok = false;
      while (q->Next(&tag, &ok)) static_cast<Tag*>(tag)->Proceed(ok);
    });
  }
  return api;
}

ClientApi::~ClientApi() { Join(); }

void ClientApi::SetServing(bool serving) {
  auto* health = server_->GetHealthCheckService();
  if (health != nullptr) health->SetServingStatus(serving);
}

void ClientApi::Shutdown(std::chrono::system_clock::time_point deadline) {
  server_->Shutdown(deadline);
}

void ClientApi::Join() {
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
  for (int i = 0; i < kAcceptsRare; ++i) AcceptAdmin(queue);
}

// Posts one accept for a method: RequestMethod is the generated Request<Method>, `serve` gets the
// call and a Done that answers it.
#define RAFTKV_ACCEPT(service, Method, RequestType, ResponseType, serve)                \
  UnaryCall<RequestType, ResponseType>::Start(                                          \
      [this, queue](grpc::ServerContext* context, RequestType* request,                 \
                    grpc::ServerAsyncResponseWriter<ResponseType>* writer, void* tag) { \
        (service).Request##Method(context, request, writer, queue, queue, tag);         \
      },                                                                                \
      serve)

namespace {

template <typename Call, typename Response>
Done<Response> Answer(Call* call) {
  return [call](Status status, Response&& response) { call->Finish(status, response); };
}

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

template <typename Request, typename Response, typename Method>
auto PlainHandler(Backend* backend, Method method) {
  return [backend, method](UnaryCall<Request, Response>* call) {
    (backend->*method)(std::move(call->request()),
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

void ClientApi::AcceptAdmin(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT
  RAFTKV_ACCEPT(kv_, Compact, CompactionRequest, CompactionResponse,
                (PlainHandler<CompactionRequest, CompactionResponse>(backend_, &Backend::Compact)));
  RAFTKV_ACCEPT(
      cluster_, MemberList, MemberListRequest, MemberListResponse,
      (PlainHandler<MemberListRequest, MemberListResponse>(backend_, &Backend::MemberList)));
  RAFTKV_ACCEPT(maintenance_, Status, StatusRequest, StatusResponse,
                ([backend = backend_](UnaryCall<StatusRequest, StatusResponse>* call) {
                  call->Finish(raftkv::Status::Ok(), backend->NodeStatus());
                }));
  RAFTKV_ACCEPT(
      maintenance_, MoveLeader, MoveLeaderRequest, MoveLeaderResponse,
      ([backend = backend_](UnaryCall<MoveLeaderRequest, MoveLeaderResponse>* call) {
        backend->MoveLeader(
            NodeId(call->request().targetid()),
            Answer<UnaryCall<MoveLeaderRequest, MoveLeaderResponse>, MoveLeaderResponse>(call));
      }));
}

#undef RAFTKV_ACCEPT

}  // namespace raftkv::server
