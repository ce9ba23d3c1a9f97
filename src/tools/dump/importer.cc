#include "tools/dump/importer.h"

#include <utility>

#include "rpc.grpc.pb.h"
#include "store/validate.h"
#include "tools/ctl/call.h"
#include "tools/support/text.h"

namespace raftkv::tools::dump {
namespace {

// Of keys and values in one transaction; with what is around them it is still a request that etcd
// takes (store::kRequestBytesMax).
constexpr size_t kBatchBytesMax = 1 << 20;

// Somebody else changes the same keys all the time if it takes more.
constexpr int kTriesMax = 20;

size_t Bytes(const ExportedKey& key) { return 3 * key.key.size() + key.value.size() + 64; }

}  // namespace

Status Importer::Add(ExportedKey key) {
  const size_t bytes = Bytes(key);
  if (pending_.size() == static_cast<size_t>(store::kTxnOpsMax) ||
      (!pending_.empty() && pending_bytes_ + bytes > kBatchBytesMax)) {
    RAFTKV_RETURN_IF_ERROR(Flush());
  }
  pending_bytes_ += bytes;
  pending_.push_back({std::move(key)});
  return Status::Ok();
}

Status Importer::Finish() { return Flush(); }

Status Importer::Flush() {
  for (int tries = 0; !pending_.empty(); ++tries) {
    if (tries == kTriesMax) {
      return Status(Code::kUnavailable, "key \"" + EscapeText(pending_.front().key.key) +
                                            "\" and others are changed by somebody else all the "
                                            "time");
    }
    RAFTKV_ASSIGN_OR_RETURN(const bool done, Try());
    if (!done) continue;
    for (const Pending& pending : pending_) {
      ++(pending.seen == 0 ? counts_.created : counts_.overwritten);
      if (pending.key.lease != 0) ++counts_.leases;
    }
    pending_.clear();
  }
  pending_bytes_ = 0;
  return Status::Ok();
}

etcdserverpb::TxnRequest Importer::MakeTxn() const {
  etcdserverpb::TxnRequest txn;
  for (const Pending& pending : pending_) {
    etcdserverpb::Compare* compare = txn.add_compare();
    compare->set_key(pending.key.key);
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_result(etcdserverpb::Compare::EQUAL);
    compare->set_mod_revision(pending.seen);
    etcdserverpb::PutRequest* put = txn.add_success()->mutable_request_put();
    put->set_key(pending.key.key);
    put->set_value(pending.key.value);
    txn.add_failure()->mutable_request_range()->set_key(pending.key.key);
  }
  return txn;
}

StatusOr<bool> Importer::Try() {
  const etcdserverpb::TxnRequest request = MakeTxn();
  etcdserverpb::TxnResponse response;
  const ctl::CallResult result =
      client_->Write(ctl::Bind<etcdserverpb::KV>(&etcdserverpb::KV::Stub::Txn, request, &response));
  switch (result.verdict) {
    case ctl::Verdict::kDone:
      if (response.succeeded()) return true;
      RAFTKV_RETURN_IF_ERROR(Learn(response));
      return false;
    case ctl::Verdict::kApplied:
      // Its answer is lost: the next transaction finds out.
      return false;
    case ctl::Verdict::kUnknown:
      return Status(Code::kUnavailable,
                    result.endpoint + ": " + result.error +
                        "; whether the last keys arrived is not known: run the import again");
    default:
      return Status(Code::kUnavailable, result.endpoint + ": " + result.error);
  }
}

Status Importer::Learn(const etcdserverpb::TxnResponse& response) {
  if (static_cast<size_t>(response.responses_size()) != pending_.size()) {
    return Status(Code::kInternal, "the cluster's answer has not as many parts as the question");
  }
  std::vector<Pending> left;
  for (size_t i = 0; i < pending_.size(); ++i) {
    Pending& pending = pending_[i];
    const auto& kvs = response.responses(static_cast<int>(i)).response_range().kvs();
    if (kvs.empty()) {
      pending.seen = 0;
    } else if (kvs[0].value() == pending.key.value) {
      ++counts_.present;
      if (pending.key.lease != 0) ++counts_.leases;
      continue;
    } else if (!overwrite_) {
      return Status(Code::kAlreadyExists,
                    "key \"" + EscapeText(pending.key.key) +
                        "\" is there with another value (of revision " +
                        std::to_string(kvs[0].mod_revision()) +
                        "); nothing of it was changed. --overwrite replaces such keys");
    } else {
      pending.seen = kvs[0].mod_revision();
    }
    left.push_back(std::move(pending));
  }
  pending_ = std::move(left);
  return Status::Ok();
}

}  // namespace raftkv::tools::dump
