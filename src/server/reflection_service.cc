#include "server/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

#include "server/queue_stream.h"

namespace raftkv::server {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

// A file and all that it imports, each once.
void AddFile(const FileDescriptor* file, std::set<const FileDescriptor*>* seen,
             grpc::reflection::v1alpha::FileDescriptorResponse* out) {
  if (!seen->insert(file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  out->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), seen, out);
}

void SetError(grpc::StatusCode code, const std::string& message, ServerReflectionResponse* out) {
  out->mutable_error_response()->set_error_code(code);
  out->mutable_error_response()->set_error_message(message);
}

void SetFile(const FileDescriptor* file, const std::string& asked, ServerReflectionResponse* out) {
  if (file == nullptr) {
    SetError(grpc::StatusCode::NOT_FOUND, "not found: " + asked, out);
    return;
  }
  std::set<const FileDescriptor*> seen;
  AddFile(file, &seen, out->mutable_file_descriptor_response());
}

}  // namespace

// One client: a request, its answer, and so on until the client ends it.
class ReflectionService::Stream final
    : public ServerStream<ServerReflectionRequest, ServerReflectionResponse> {
 public:
  Stream(ReflectionService* service, grpc::ServerCompletionQueue* queue)
      : ServerStream(service->open_), service_(service), queue_(queue) {}

 protected:
  void OnCalled() override {
    service_->Accept(queue_);
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    response_ = service_->Answer(request_);
    StartWrite(&response_);
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }

  void OnDone() override { delete this; }

 private:
  ReflectionService* const service_;
  grpc::ServerCompletionQueue* const queue_;
  ServerReflectionRequest request_;
  ServerReflectionResponse response_;
};

void ReflectionService::Accept(grpc::ServerCompletionQueue* queue) {
  auto* stream = new Stream(this, queue);  // owns itself
  stream->Accept([this, queue](auto* context, auto* call, void* tag) {
    service_.RequestServerReflectionInfo(context, call, queue, queue, tag);
  });
}

ServerReflectionResponse ReflectionService::Answer(const ServerReflectionRequest& request) const {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const DescriptorPool* const pool = DescriptorPool::generated_pool();
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      SetFile(pool->FindFileByName(request.file_by_filename()), request.file_by_filename(),
              &response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      SetFile(pool->FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), &response);
      break;
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    default:  // proto3 has no extensions
      SetError(grpc::StatusCode::UNIMPLEMENTED, "not supported", &response);
  }
  return response;
}

}  // namespace raftkv::server
