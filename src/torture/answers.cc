#include "torture/answers.h"

namespace raftkv::torture {
namespace {

using etcdserverpb::RequestOp;
using etcdserverpb::ResponseOp;

std::string WrongWith(const RequestOp& request, const ResponseOp& response) {
  if (request.has_request_put()) {
    return response.has_response_put() ? "" : "a put was answered as something else";
  }
  if (!request.has_request_range()) return "";
  if (!response.has_response_range()) return "a range was answered as something else";
  return torture::WrongWith(request.request_range(), response.response_range());
}

}  // namespace

std::string WrongWith(const etcdserverpb::RangeRequest& request,
                      const etcdserverpb::RangeResponse& response) {
  const bool one_key = request.range_end().empty();
  const std::string* before = nullptr;
  for (const auto& kv : response.kvs()) {
    const std::string& key = kv.key();
    if (one_key ? key != request.key() : key < request.key() || key >= request.range_end()) {
      return "key '" + key + "' was not asked for";
    }
    if (before != nullptr && key == *before) return "key '" + key + "' comes twice";
    if (before != nullptr && key < *before) return "key '" + key + "' comes too late";
    before = &key;
  }
  if (response.more()) return "there is said to be more, without a limit";
  if (response.count() != response.kvs_size()) {
    return std::to_string(response.kvs_size()) + " keys are counted as " +
           std::to_string(response.count());
  }
  return "";
}

std::string WrongWith(const etcdserverpb::DeleteRangeRequest&,
                      const etcdserverpb::DeleteRangeResponse& response) {
  // Of one key.
  if (response.deleted() == 0 || response.deleted() == 1) return "";
  return std::to_string(response.deleted()) + " keys were deleted";
}

std::string WrongWith(const etcdserverpb::TxnRequest& request,
                      const etcdserverpb::TxnResponse& response) {
  const auto& asked = response.succeeded() ? request.success() : request.failure();
  if (response.responses_size() != asked.size()) {
    return std::to_string(asked.size()) + " operations have " +
           std::to_string(response.responses_size()) + " answers";
  }
  for (int i = 0; i < asked.size(); ++i) {
    if (std::string wrong = WrongWith(asked[i], response.responses(i)); !wrong.empty()) {
      return wrong;
    }
  }
  return "";
}

}  // namespace raftkv::torture
