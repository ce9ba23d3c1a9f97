#include "store/delete_count.h"

#include <algorithm>

#include "store/kv_errors.h"

namespace raftkv::store {
namespace {

using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using Ops = google::protobuf::RepeatedPtrField<RequestOp>;

class Counter {
 public:
  struct Deleted {
    uint64_t keys = 0;
    uint64_t key_bytes = 0;
  };

  Counter(MvccView* view, int64_t at, const DeleteLimits& limits)
      : view_(view), at_(at), limits_(limits) {}

  // Adds what `request` deletes to `deleted`; an error as soon as that is too much.
  Status Add(const DeleteRangeRequest& request, Deleted* deleted) {
    if (!DeletesRanges(request)) return Status::Ok();
    bool too_many = false;
    RAFTKV_RETURN_IF_ERROR(view_->Scan(KeyRange::Of(request.key(), request.range_end()), at_,
                                       [&](const KeyVersion& version) {
                                         ++deleted->keys;
                                         deleted->key_bytes += version.key.size();
                                         too_many = deleted->keys > limits_.keys_max ||
                                                    deleted->key_bytes > limits_.key_bytes_max ||
                                                    ++looked_at_ > kBranchesMax * limits_.keys_max;
                                         return !too_many;
                                       }));
    return too_many ? ErrTooManyDeletes(limits_.keys_max, limits_.key_bytes_max) : Status::Ok();
  }

  Status Add(const TxnRequest& request, Deleted* deleted) {
    Deleted success = *deleted;
    Deleted failure = *deleted;
    RAFTKV_RETURN_IF_ERROR(Add(request.success(), &success));
    RAFTKV_RETURN_IF_ERROR(Add(request.failure(), &failure));
    deleted->keys = std::max(success.keys, failure.keys);
    deleted->key_bytes = std::max(success.key_bytes, failure.key_bytes);
    return Status::Ok();
  }

 private:
  // Of nested transactions every branch is looked at, and there can be as many as a request has
  // room for.
  static constexpr uint64_t kBranchesMax = 4;

  Status Add(const Ops& ops, Deleted* deleted) {
    for (const RequestOp& op : ops) {
      if (op.has_request_delete_range()) {
        RAFTKV_RETURN_IF_ERROR(Add(op.request_delete_range(), deleted));
      } else if (op.has_request_txn()) {
        RAFTKV_RETURN_IF_ERROR(Add(op.request_txn(), deleted));
      }
    }
    return Status::Ok();
  }

  MvccView* const view_;
  const int64_t at_;
  const DeleteLimits limits_;
  uint64_t looked_at_ = 0;
};

bool OpsDeleteRanges(const Ops& ops) {
  return std::any_of(ops.begin(), ops.end(), [](const RequestOp& op) {
    return (op.has_request_delete_range() && DeletesRanges(op.request_delete_range())) ||
           (op.has_request_txn() && DeletesRanges(op.request_txn()));
  });
}

}  // namespace

Status CheckDeletes(MvccView* view, int64_t at, const DeleteRangeRequest& request,
                    const DeleteLimits& limits) {
  Counter::Deleted deleted;
  return Counter(view, at, limits).Add(request, &deleted);
}

Status CheckDeletes(MvccView* view, int64_t at, const TxnRequest& request,
                    const DeleteLimits& limits) {
  Counter::Deleted deleted;
  return Counter(view, at, limits).Add(request, &deleted);
}

bool DeletesRanges(const DeleteRangeRequest& request) { return !request.range_end().empty(); }

bool DeletesRanges(const TxnRequest& request) {
  return OpsDeleteRanges(request.success()) || OpsDeleteRanges(request.failure());
}

}  // namespace raftkv::store
