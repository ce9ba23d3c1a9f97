// Taking calls off a completion queue and giving them to the backend.
#pragma once

#include <utility>

#include "server/backend.h"
#include "server/unary_call.h"

// Posts one accept for a method: Request<Method> is the generated one, `serve` gets the call and
// must see to it that it is finished. Needs `this`, its `open_` and a `queue`.
#define RAFTKV_ACCEPT(service, Method, RequestType, ResponseType, serve)                \
  UnaryCall<RequestType, ResponseType>::Start(                                          \
      open_,                                                                            \
      [this, queue](grpc::ServerContext* context, RequestType* request,                 \
                    grpc::ServerAsyncResponseWriter<ResponseType>* writer, void* tag) { \
        (service).Request##Method(context, request, writer, queue, queue, tag);         \
      },                                                                                \
      serve)

namespace raftkv::server {

template <typename Call, typename Response>
Done<Response> Answer(Call* call) {
  return [call](Status status, Response&& response) { call->Finish(status, response); };
}

// A handler that has `method` of the backend answer.
template <typename Request, typename Response, typename Method>
auto PlainHandler(Backend* backend, Method method) {
  return [backend, method](UnaryCall<Request, Response>* call) {
    (backend->*method)(std::move(call->request()),
                       Answer<UnaryCall<Request, Response>, Response>(call));
  };
}

}  // namespace raftkv::server
