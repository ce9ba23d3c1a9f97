#include "store/validate.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "store/command.h"
#include "store/kv_errors.h"
#include "store/session_limits.h"

namespace raftkv::store {
namespace {

using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using Ops = google::protobuf::RepeatedPtrField<RequestOp>;

// What one branch of a transaction writes. Views point into the request.
class WriteSet {
 public:
  // False if `key` was put before.
  bool AddPut(std::string_view key) { return puts_.insert(key).second; }

  void AddDelete(std::string_view key, std::string_view range_end) {
    if (range_end.empty()) {
      deleted_keys_.insert(key);
    } else if (key < range_end) {
      AddDeletedRange(key, range_end);
    }
    // An empty range overlaps nothing. For etcd that includes every range to "\0" (from the key
    // on): it compares the end as it stands. We follow it, since a client that etcd serves must
    // not be refused here; the operations then take effect in their order.
  }

  bool Deletes(std::string_view key) const {
    if (deleted_keys_.contains(key)) return true;
    auto after = deleted_ranges_.upper_bound(key);
    return after != deleted_ranges_.begin() && key < std::prev(after)->second;
  }

  bool Puts(std::string_view key) const { return puts_.contains(key); }
  const std::set<std::string_view>& puts() const { return puts_; }

  void TakeDeletesOf(WriteSet* other) {
    // The larger set absorbs the smaller, so that deep nesting stays cheap.
    if (deleted_keys_.size() < other->deleted_keys_.size()) {
      std::swap(deleted_keys_, other->deleted_keys_);
    }
    deleted_keys_.merge(other->deleted_keys_);
    if (deleted_ranges_.size() < other->deleted_ranges_.size()) {
      std::swap(deleted_ranges_, other->deleted_ranges_);
    }
    for (const auto& [begin, end] : other->deleted_ranges_) AddDeletedRange(begin, end);
  }

 private:
  // Keeps the ranges disjoint, so that one look-up finds whether a key is in any of them.
  void AddDeletedRange(std::string_view begin, std::string_view end) {
    auto it = deleted_ranges_.upper_bound(begin);
    if (it != deleted_ranges_.begin() && std::prev(it)->second >= begin) --it;
    while (it != deleted_ranges_.end() && it->first <= end) {
      begin = std::min(begin, it->first);
      end = std::max(end, it->second);
      it = deleted_ranges_.erase(it);
    }
    deleted_ranges_.emplace(begin, end);
  }

  std::set<std::string_view> puts_;
  std::set<std::string_view> deleted_keys_;
  std::map<std::string_view, std::string_view> deleted_ranges_;
};

// Adds the writes of a nested transaction to those of the branch that holds it. Only one of
// its branches runs, so that a key may be in both.
Status AddNested(WriteSet* then_branch, WriteSet* else_branch, WriteSet* writes) {
  std::set<std::string_view> added;
  for (const WriteSet* branch : {then_branch, else_branch}) {
    for (const std::string_view key : branch->puts()) {
      if (writes->Deletes(key)) return ErrDuplicateKey();
      if (writes->AddPut(key)) {
        added.insert(key);
      } else if (!(branch == else_branch && added.contains(key))) {
        return ErrDuplicateKey();
      }
    }
  }
  // As in etcd, a put in one nested transaction and a delete of the same key in a later one do not
  // collide: they happen in that order.
  writes->TakeDeletesOf(then_branch);
  writes->TakeDeletesOf(else_branch);
  return Status::Ok();
}

// etcd's rule that no key is put twice, or put and deleted, in one transaction (checkIntervals).
Status CollectWrites(const Ops& ops, WriteSet* writes) {
  for (const RequestOp& op : ops) {
    if (!op.has_request_delete_range()) continue;
    writes->AddDelete(op.request_delete_range().key(), op.request_delete_range().range_end());
  }
  for (const RequestOp& op : ops) {
    if (!op.has_request_txn()) continue;
    WriteSet then_branch;
    WriteSet else_branch;
    RAFTKV_RETURN_IF_ERROR(CollectWrites(op.request_txn().success(), &then_branch));
    RAFTKV_RETURN_IF_ERROR(CollectWrites(op.request_txn().failure(), &else_branch));
    RAFTKV_RETURN_IF_ERROR(AddNested(&then_branch, &else_branch, writes));
  }
  for (const RequestOp& op : ops) {
    if (!op.has_request_put()) continue;
    const std::string_view key = op.request_put().key();
    if (writes->Puts(key) || writes->Deletes(key)) return ErrDuplicateKey();
    writes->AddPut(key);
  }
  return Status::Ok();
}

Status CheckOps(const TxnRequest& request, int ops_max);

Status CheckOp(const RequestOp& op, int ops_max) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      return Validate(op.request_range());
    case RequestOp::kRequestPut:
      return Validate(op.request_put());
    case RequestOp::kRequestDeleteRange:
      return Validate(op.request_delete_range());
    case RequestOp::kRequestTxn:
      return CheckOps(op.request_txn(), ops_max);
    case RequestOp::REQUEST_NOT_SET:
      break;
  }
  return ErrKeyNotFound();  // what etcd answers to an empty operation
}

// Each level of nesting takes its longest list off the budget of the levels below it.
Status CheckOps(const TxnRequest& request, int ops_max) {
  const int ops =
      std::max({request.compare_size(), request.success_size(), request.failure_size()});
  if (ops > ops_max) return ErrTooManyOps();
  for (const auto& compare : request.compare()) {
    if (compare.key().empty()) return ErrEmptyKey();
  }
  for (const Ops* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) RAFTKV_RETURN_IF_ERROR(CheckOp(op, ops_max - ops));
  }
  return Status::Ok();
}

bool OpsReadOnly(const Ops& ops) {
  return std::all_of(ops.begin(), ops.end(), [](const RequestOp& op) {
    return op.has_request_range() || (op.has_request_txn() && IsReadOnly(op.request_txn()));
  });
}

// Counts the ranges; false if one of them is not serializable, or there is another operation.
bool OpsSerializable(const Ops& ops, size_t* ranges) {
  for (const RequestOp& op : ops) {
    if (op.has_request_range() && op.request_range().serializable()) {
      ++*ranges;
    } else if (!op.has_request_txn() || !OpsSerializable(op.request_txn().success(), ranges) ||
               !OpsSerializable(op.request_txn().failure(), ranges)) {
      return false;
    }
  }
  return true;
}

template <typename Request>
StatusOr<Request> ParseBody(const Command& command) {
  Request request;
  if (!request.ParseFromArray(command.body.data(), static_cast<int>(command.body.size()))) {
    return Status(Code::kCorruption, "the body of a " + std::string(CommandTypeName(command.type)) +
                                         " command can't be parsed");
  }
  return request;
}

}  // namespace

Status Validate(const etcdserverpb::RangeRequest& request) {
  if (request.key().empty()) return ErrEmptyKey();
  if (!etcdserverpb::RangeRequest::SortOrder_IsValid(request.sort_order()) ||
      !etcdserverpb::RangeRequest::SortTarget_IsValid(request.sort_target())) {
    return ErrInvalidSortOption();
  }
  return Status::Ok();
}

Status Validate(const etcdserverpb::PutRequest& request) {
  if (request.key().empty()) return ErrEmptyKey();
  if (request.ignore_value() && !request.value().empty()) return ErrValueProvided();
  if (request.ignore_lease() && request.lease() != 0) return ErrLeaseProvided();
  return Status::Ok();
}

Status Validate(const etcdserverpb::DeleteRangeRequest& request) {
  return request.key().empty() ? ErrEmptyKey() : Status::Ok();
}

Status Validate(const TxnRequest& request, int ops_max) {
  RAFTKV_RETURN_IF_ERROR(CheckOps(request, ops_max));
  // Each branch on its own: only one of them runs.
  for (const Ops* branch : {&request.success(), &request.failure()}) {
    WriteSet writes;
    RAFTKV_RETURN_IF_ERROR(CollectWrites(*branch, &writes));
  }
  return Status::Ok();
}

Status ValidateCommand(std::string_view payload) {
  RAFTKV_ASSIGN_OR_RETURN(const Command command, DecodeCommand(payload));
  switch (command.type) {
    case CommandType::kPut: {
      RAFTKV_ASSIGN_OR_RETURN(const auto put, ParseBody<etcdserverpb::PutRequest>(command));
      return Validate(put);
    }
    case CommandType::kDeleteRange: {
      RAFTKV_ASSIGN_OR_RETURN(const auto deletion,
                              ParseBody<etcdserverpb::DeleteRangeRequest>(command));
      return Validate(deletion);
    }
    case CommandType::kTxn: {
      RAFTKV_ASSIGN_OR_RETURN(const auto txn, ParseBody<TxnRequest>(command));
      return Validate(txn, std::numeric_limits<int>::max());
    }
    case CommandType::kCompact:
      return ParseBody<etcdserverpb::CompactionRequest>(command).status();
    case CommandType::kMemberAttributes:
      return ParseBody<etcdserverpb::Member>(command).status();
    case CommandType::kAlarm:
      return ParseBody<etcdserverpb::AlarmRequest>(command).status();
    case CommandType::kSessionLimits:
      return DecodeSessionLimits(command.body).status();
  }
  return {Code::kCorruption, "a command of unknown type"};
}

bool IsReadOnly(const TxnRequest& request) {
  return OpsReadOnly(request.success()) && OpsReadOnly(request.failure());
}

bool IsSerializable(const TxnRequest& request) {
  size_t ranges = 0;
  return OpsSerializable(request.success(), &ranges) &&
         OpsSerializable(request.failure(), &ranges) && ranges > 0;
}

}  // namespace raftkv::store
