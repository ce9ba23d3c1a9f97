#include "tools/dump/key_changes.h"

#include "common/crc32c.h"
#include "rpc.pb.h"
#include "store/command.h"
#include "store/mvcc_view.h"

namespace raftkv::tools::dump {
namespace {

void Add(const etcdserverpb::PutRequest& put, std::string_view key, std::vector<KeyEffect>* out) {
  if (put.key() != key) return;
  out->push_back({.value_bytes = put.value().size(),
                  .value_crc = Crc32c(put.value()),
                  .keeps_value = put.ignore_value()});
}

void Add(const etcdserverpb::DeleteRangeRequest& del, std::string_view key,
         std::vector<KeyEffect>* out) {
  const store::KeyRange range = store::KeyRange::Of(del.key(), del.range_end());
  const bool covers =
      range.single ? key == range.key : key >= range.key && (range.unbounded || key < range.end);
  if (covers) out->push_back({.tombstone = true});
}

void Add(const etcdserverpb::TxnRequest& txn, std::string_view key, std::vector<KeyEffect>* out) {
  for (const auto* branch : {&txn.success(), &txn.failure()}) {
    for (const auto& op : *branch) {
      if (op.has_request_put()) Add(op.request_put(), key, out);
      if (op.has_request_delete_range()) Add(op.request_delete_range(), key, out);
      if (op.has_request_txn()) Add(op.request_txn(), key, out);
    }
  }
}

template <typename Request>
void ParseAndAdd(std::string_view body, std::string_view key, std::vector<KeyEffect>* out) {
  Request request;
  if (request.ParseFromArray(body.data(), static_cast<int>(body.size()))) Add(request, key, out);
}

}  // namespace

std::vector<KeyEffect> EffectsOn(EntryKind kind, std::string_view payload, std::string_view key) {
  std::vector<KeyEffect> effects;
  if (kind != EntryKind::kCommand) return effects;
  const StatusOr<store::Command> command = store::DecodeCommand(payload);
  if (!command.ok()) return effects;
  switch (command->type) {
    case store::CommandType::kPut:
      ParseAndAdd<etcdserverpb::PutRequest>(command->body, key, &effects);
      break;
    case store::CommandType::kDeleteRange:
      ParseAndAdd<etcdserverpb::DeleteRangeRequest>(command->body, key, &effects);
      break;
    case store::CommandType::kTxn:
      ParseAndAdd<etcdserverpb::TxnRequest>(command->body, key, &effects);
      break;
    default:
      break;
  }
  return effects;
}

}  // namespace raftkv::tools::dump
