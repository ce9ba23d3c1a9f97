#include "store/random_requests.h"

#include <algorithm>
#include <iterator>

#include "store/validate.h"

namespace raftkv::store {

using etcdserverpb::RangeRequest;

std::string RandomRequests::Key() {
  static const std::string kKeys[] = {"a",
                                      std::string("a\0", 2),
                                      std::string("a\0b", 3),
                                      "ab",
                                      "b",
                                      std::string("\0", 1),
                                      "c",
                                      "\xff",
                                      "d"};
  return kKeys[rng_.Below(std::size(kKeys))];
}

std::string RandomRequests::End() {
  if (rng_.Percent(40)) return "";
  if (rng_.Percent(25)) return std::string(1, '\0');
  return Key();
}

std::string RandomRequests::Value() {
  if (rng_.Percent(10)) return "";
  std::string value = std::to_string(++values_);
  // Now and then large enough to fill blocks and cross a session's bound.
  if (rng_.Percent(2)) value.resize(rng_.Between(1'000, 40'000), 'v');
  return value;
}

int64_t RandomRequests::Revision(int64_t revision, int64_t compact_revision) {
  if (rng_.Percent(40)) return 0;
  const int64_t low = std::max<int64_t>(compact_revision - 2, -1);
  return low + static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(revision - low + 3)));
}

etcdserverpb::PutRequest RandomRequests::Put() {
  etcdserverpb::PutRequest request;
  request.set_key(Key());
  request.set_prev_kv(rng_.Percent(30));
  request.set_ignore_value(rng_.Percent(10));
  request.set_ignore_lease(rng_.Percent(5));
  if (!request.ignore_value()) request.set_value(Value());
  if (!request.ignore_lease() && rng_.Percent(2)) request.set_lease(7);
  return request;
}

etcdserverpb::DeleteRangeRequest RandomRequests::Delete() {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(Key());
  request.set_range_end(End());
  request.set_prev_kv(rng_.Percent(30));
  return request;
}

RangeRequest RandomRequests::Range(int64_t revision, int64_t compact_revision) {
  RangeRequest request;
  request.set_key(Key());
  request.set_range_end(End());
  request.set_revision(Revision(revision, compact_revision));
  if (rng_.Percent(50)) request.set_limit(static_cast<int64_t>(rng_.Below(7)) - 1);
  request.set_sort_order(static_cast<RangeRequest::SortOrder>(rng_.Below(3)));
  request.set_sort_target(static_cast<RangeRequest::SortTarget>(rng_.Below(5)));
  request.set_keys_only(rng_.Percent(20));
  request.set_count_only(rng_.Percent(10));
  auto bound = [&] {
    return static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(revision) + 2));
  };
  if (rng_.Percent(15)) request.set_min_mod_revision(bound());
  if (rng_.Percent(15)) request.set_max_mod_revision(bound());
  if (rng_.Percent(15)) request.set_min_create_revision(bound());
  if (rng_.Percent(15)) request.set_max_create_revision(bound());
  return request;
}

etcdserverpb::Compare RandomRequests::Compare(int64_t revision) {
  etcdserverpb::Compare compare;
  compare.set_key(Key());
  if (rng_.Percent(30)) compare.set_range_end(End());
  compare.set_result(static_cast<etcdserverpb::Compare::CompareResult>(rng_.Below(4)));
  compare.set_target(static_cast<etcdserverpb::Compare::CompareTarget>(rng_.Below(5)));
  const auto near = static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(revision) + 1));
  switch (compare.target()) {
    case etcdserverpb::Compare::VERSION:
      compare.set_version(static_cast<int64_t>(rng_.Below(4)));
      break;
    case etcdserverpb::Compare::CREATE:
      compare.set_create_revision(near);
      break;
    case etcdserverpb::Compare::MOD:
      compare.set_mod_revision(near);
      break;
    case etcdserverpb::Compare::LEASE:
      compare.set_lease(static_cast<int64_t>(rng_.Below(2)));
      break;
    default:
      compare.set_value(std::to_string(rng_.Below(values_ + 1)));
      break;
  }
  return compare;
}

void RandomRequests::FillBranch(google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>* ops,
                                int64_t revision, int64_t compact_revision, int depth) {
  for (uint64_t i = rng_.Below(4); i > 0; --i) {
    etcdserverpb::RequestOp* op = ops->Add();
    const uint64_t what = rng_.Below(10);
    if (what < 4) {
      *op->mutable_request_put() = Put();
    } else if (what < 6) {
      *op->mutable_request_delete_range() = Delete();
    } else if (what < 9 || depth == 0) {
      *op->mutable_request_range() = Range(revision, compact_revision);
      // Most must not fail, or whole transactions would be rare.
      if (rng_.Percent(70)) op->mutable_request_range()->set_revision(0);
    } else {
      *op->mutable_request_txn() = Txn(revision, compact_revision, depth - 1);
    }
  }
}

etcdserverpb::TxnRequest RandomRequests::Txn(int64_t revision, int64_t compact_revision,
                                             int depth) {
  etcdserverpb::TxnRequest request;
  for (uint64_t i = rng_.Below(3); i > 0; --i) *request.add_compare() = Compare(revision);
  FillBranch(request.mutable_success(), revision, compact_revision, depth);
  FillBranch(request.mutable_failure(), revision, compact_revision, depth);
  return request;
}

RandomCommand RandomRequests::Next(int64_t revision, int64_t compact_revision) {
  RandomCommand command;
  if (rng_.Percent(10)) time_ms_ += rng_.Below(3'000);
  command.time_ms = rng_.Percent(90) ? time_ms_ : time_ms_ / 2;
  if (rng_.Percent(30)) {
    const uint64_t client = rng_.Below(std::size(sequences_));
    uint64_t& sequence = sequences_[client];
    if (sequence == 0 || rng_.Percent(60)) ++sequence;
    command.session = {"client" + std::to_string(client), sequence};
    if (rng_.Percent(5) && sequence > 1) --command.session.sequence;
    if (rng_.Percent(10)) command.session.sequence = sequence = 1;
  }
  const uint64_t what = rng_.Below(100);
  if (what < 50) {
    command.type = CommandType::kPut;
    command.request = std::make_shared<etcdserverpb::PutRequest>(Put());
  } else if (what < 65) {
    command.type = CommandType::kDeleteRange;
    command.request = std::make_shared<etcdserverpb::DeleteRangeRequest>(Delete());
  } else if (what < 97) {
    command.type = CommandType::kTxn;
    etcdserverpb::TxnRequest request;
    do {
      request = Txn(revision, compact_revision, 2);
    } while (!Validate(request).ok());
    command.request = std::make_shared<etcdserverpb::TxnRequest>(request);
  } else {
    command.type = CommandType::kCompact;
    auto request = std::make_shared<etcdserverpb::CompactionRequest>();
    request->set_revision(Revision(revision, compact_revision));
    command.request = request;
  }
  return command;
}

}  // namespace raftkv::store
