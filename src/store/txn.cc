#include "store/txn.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/check.h"
#include "store/kv_errors.h"

namespace raftkv::store {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

int Sign(auto a, auto b) { return a < b ? -1 : (b < a ? 1 : 0); }

// Whether one version satisfies `compare`. An operand of another kind than the target counts as 0
// or empty, and an unknown result as true: etcd's answers to malformed compares.
bool Satisfies(const Compare& compare, const KeyVersion& version) {
  int order = 0;
  switch (compare.target()) {
    case Compare::VERSION:
      order = Sign(version.version, compare.version());
      break;
    case Compare::CREATE:
      order = Sign(version.create_revision, compare.create_revision());
      break;
    case Compare::MOD:
      order = Sign(version.mod.main, compare.mod_revision());
      break;
    case Compare::VALUE:
      order = Sign(version.value, std::string_view(compare.value()));
      break;
    case Compare::LEASE:
      order = Sign(version.lease, compare.lease());
      break;
    default:
      break;
  }
  switch (compare.result()) {
    case Compare::EQUAL:
      return order == 0;
    case Compare::NOT_EQUAL:
      return order != 0;
    case Compare::GREATER:
      return order > 0;
    case Compare::LESS:
      return order < 0;
    default:
      return true;
  }
}

bool KeepsSomething(const etcdserverpb::PutRequest& request) {
  return request.ignore_value() || request.ignore_lease();
}

}  // namespace

Transaction::Transaction(BatchWriter* writer, int64_t compact_revision, const AnswerRoom& room)
    : view_(writer->view()),
      bounds_{writer->begin_revision(), compact_revision},
      writer_(writer),
      room_(room) {
  writer_->Begin();
}

Transaction::~Transaction() {
  if (writer_ != nullptr) writer_->End();
}

// What a read within the transaction sees and reports: its own changes included.
ReadBounds Transaction::bounds() const {
  return {writer_ ? writer_->revision() : bounds_.revision, bounds_.compact_revision};
}

Status Transaction::Put(const etcdserverpb::PutRequest& request,
                        etcdserverpb::PutResponse* response) {
  // There are no leases yet, so none can be found. etcd looks for the lease before the key here,
  // and the other way round within a transaction.
  if (request.lease() != 0) return ErrLeaseNotFound();
  if (KeepsSomething(request)) {
    std::optional<KeyVersion> previous;
    RAFTKV_RETURN_IF_ERROR(view_->GetWithoutValue(request.key(), bounds_.revision, &previous));
    if (!previous) return ErrKeyNotFound();
  }
  return ExecutePut(request, response);
}

Status Transaction::ExecutePut(const etcdserverpb::PutRequest& request,
                               etcdserverpb::PutResponse* response) {
  std::optional<KeyVersion> previous;
  const bool answers = request.prev_kv() && room_.open();
  const bool needs_value = answers || request.ignore_value();
  RAFTKV_RETURN_IF_ERROR(needs_value
                             ? view_->Get(request.key(), bounds().revision, &previous)
                             : view_->GetWithoutValue(request.key(), bounds().revision, &previous));
  if (answers && previous && room_.Take(AnswerBytes(*previous))) {
    ToKeyValue(*previous, response->mutable_prev_kv());
  }

  std::string_view value = request.value();
  int64_t lease = request.lease();
  if (KeepsSomething(request)) {
    std::optional<KeyVersion> kept = previous;
    // The key was there when the transaction was checked. If the transaction itself has deleted it
    // since (which etcd's duplicate-key rule lets through for a range to the end, and then
    // panics), what it had before is kept.
    if (!kept) RAFTKV_RETURN_IF_ERROR(view_->Get(request.key(), bounds_.revision, &kept));
    RAFTKV_CHECK(kept.has_value(), "a put that keeps a value was not checked");
    if (request.ignore_value()) value = writer_->overlay()->Keep(kept->value);
    if (request.ignore_lease()) lease = kept->lease;
  }
  writer_->Put(request.key(), value, lease, previous ? &*previous : nullptr);
  response->mutable_header()->set_revision(bounds().revision);
  return Status::Ok();
}

Status Transaction::DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                                etcdserverpb::DeleteRangeResponse* response) {
  // Found first, then deleted: a scan must not see the writes it causes.
  std::vector<std::pair<std::string_view, Revision>> found;
  RAFTKV_RETURN_IF_ERROR(view_->Scan(KeyRange::Of(request.key(), request.range_end()),
                                     bounds().revision, [&](const KeyVersion& version) {
                                       found.emplace_back(writer_->overlay()->Keep(version.key),
                                                          version.mod);
                                       if (!request.prev_kv() || !room_.open()) return true;
                                       if (room_.Take(AnswerBytes(version))) {
                                         ToKeyValue(version, response->add_prev_kvs());
                                       } else {
                                         *response = {};  // unlike Clear, frees what it held
                                       }
                                       return true;
                                     }));
  for (const auto& [key, mod] : found) writer_->Delete(key, mod);
  response->set_deleted(static_cast<int64_t>(found.size()));
  response->mutable_header()->set_revision(bounds().revision);
  return Status::Ok();
}

Status Transaction::Run(const TxnRequest& request, etcdserverpb::TxnResponse* response) {
  // As in etcd, every compare, nested ones too, is decided on the state before the transaction;
  // then all puts of the branches taken are checked, then all ranges; only then is anything done.
  RAFTKV_RETURN_IF_ERROR(Decide(request));
  next_ = 0;
  RAFTKV_RETURN_IF_ERROR(CheckBranch(request, &Transaction::CheckPut));
  next_ = 0;
  RAFTKV_RETURN_IF_ERROR(CheckBranch(request, &Transaction::CheckRange));
  next_ = 0;
  RAFTKV_RETURN_IF_ERROR(Execute(request, response));
  response->mutable_header()->set_revision(bounds().revision);
  return Status::Ok();
}

Status Transaction::Decide(const TxnRequest& request) {
  bool all = true;
  for (const Compare& compare : request.compare()) {
    RAFTKV_ASSIGN_OR_RETURN(all, Holds(compare));
    if (!all) break;
  }
  path_.push_back(all);
  for (const RequestOp& op : all ? request.success() : request.failure()) {
    if (op.has_request_txn()) RAFTKV_RETURN_IF_ERROR(Decide(op.request_txn()));
  }
  return Status::Ok();
}

StatusOr<bool> Transaction::Holds(const Compare& compare) {
  bool holds = true;
  bool any = false;
  const auto look = [&](const KeyVersion& version) {
    any = true;
    holds = Satisfies(compare, version);
    return holds;
  };
  const KeyRange range = KeyRange::Of(compare.key(), compare.range_end());
  if (range.single && compare.target() != Compare::VALUE) {
    std::optional<KeyVersion> version;
    RAFTKV_RETURN_IF_ERROR(view_->GetWithoutValue(range.key, bounds_.revision, &version));
    if (version) look(*version);
  } else {
    RAFTKV_RETURN_IF_ERROR(view_->Scan(range, bounds_.revision, look));
  }
  if (any) return holds;
  // A missing key has version, revisions and lease 0, but no value: comparing that is always false.
  return compare.target() != Compare::VALUE && Satisfies(compare, KeyVersion{});
}

const Transaction::Ops& Transaction::NextBranch(const TxnRequest& request, bool* succeeded) {
  const bool taken = path_[next_++];
  if (succeeded != nullptr) *succeeded = taken;
  return taken ? request.success() : request.failure();
}

Status Transaction::CheckBranch(const TxnRequest& request, OpCheck check) {
  for (const RequestOp& op : NextBranch(request)) {
    if (op.has_request_txn()) {
      RAFTKV_RETURN_IF_ERROR(CheckBranch(op.request_txn(), check));
    } else {
      RAFTKV_RETURN_IF_ERROR((this->*check)(op));
    }
  }
  return Status::Ok();
}

Status Transaction::CheckPut(const RequestOp& op) {
  if (!op.has_request_put()) return Status::Ok();
  const auto& request = op.request_put();
  if (KeepsSomething(request)) {
    std::optional<KeyVersion> previous;
    RAFTKV_RETURN_IF_ERROR(view_->GetWithoutValue(request.key(), bounds_.revision, &previous));
    if (!previous) return ErrKeyNotFound();
  }
  return request.lease() != 0 ? ErrLeaseNotFound() : Status::Ok();
}

Status Transaction::CheckRange(const RequestOp& op) {
  if (!op.has_request_range()) return Status::Ok();
  return CheckReadRevision(op.request_range().revision(), bounds_);
}

Status Transaction::Execute(const TxnRequest& request, etcdserverpb::TxnResponse* response) {
  bool succeeded = false;
  const Ops& ops = NextBranch(request, &succeeded);
  response->set_succeeded(succeeded);
  under_way_.push_back(response);
  for (const RequestOp& op : ops) {
    RAFTKV_RETURN_IF_ERROR(ExecuteOp(op, response->add_responses()));
    if (room_.given_up()) FreeAnswers();
  }
  under_way_.pop_back();
  return Status::Ok();
}

// What was gathered at every level. Of the outer ones the last answer is still being written.
void Transaction::FreeAnswers() {
  for (etcdserverpb::TxnResponse* response : under_way_) {
    auto* answers = response->mutable_responses();
    answers->DeleteSubrange(0, answers->size() - (response == under_way_.back() ? 0 : 1));
  }
}

Status Transaction::ExecuteOp(const RequestOp& op, etcdserverpb::ResponseOp* response) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      // It can't fail: its revision was checked before anything was done, and there are only more
      // since. So it may be left out where nobody gets to see it.
      if (!room_.open()) return Status::Ok();
      return ReadRange(view_, bounds(), op.request_range(), &room_,
                       response->mutable_response_range());
    case RequestOp::kRequestPut:
      RAFTKV_CHECK(writer_ != nullptr, "a put in a read-only transaction");
      return ExecutePut(op.request_put(), response->mutable_response_put());
    case RequestOp::kRequestDeleteRange:
      RAFTKV_CHECK(writer_ != nullptr, "a delete in a read-only transaction");
      return DeleteRange(op.request_delete_range(), response->mutable_response_delete_range());
    case RequestOp::kRequestTxn:
      // etcd leaves the header of a nested answer empty.
      response->mutable_response_txn()->mutable_header();
      return Execute(op.request_txn(), response->mutable_response_txn());
    case RequestOp::REQUEST_NOT_SET:
      break;  // the edge refuses it; here it does nothing
  }
  return Status::Ok();
}

}  // namespace raftkv::store
