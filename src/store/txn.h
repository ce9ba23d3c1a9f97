// Carries out put, delete and transaction requests. Each is all or nothing: what can fail is
// checked before the first change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "rpc.pb.h"
#include "store/answer_room.h"
#include "store/batch_writer.h"
#include "store/mvcc_view.h"
#include "store/range_read.h"

namespace raftkv::store {

// One request on the apply thread (with a writer) or one read-only transaction on a reader's
// thread. Lives for one request. Errors are those clients get, or kCorruption.
class Transaction {
 public:
  // For reads only.
  Transaction(MvccView* view, const ReadBounds& bounds, const AnswerRoom& room)
      : view_(view), bounds_(bounds), writer_(nullptr), room_(room) {}
  // For writes. Begins and ends a revision of `writer`. What is changed, and the status, are the
  // same whatever `room` there is for what is read.
  Transaction(BatchWriter* writer, int64_t compact_revision, const AnswerRoom& room);
  ~Transaction();

  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Status Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response);
  Status DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                     etcdserverpb::DeleteRangeResponse* response);
  Status Run(const etcdserverpb::TxnRequest& request, etcdserverpb::TxnResponse* response);

  // What there was no room for is missing in the response. Where the room has given up, nothing but
  // the response's header means anything.
  const AnswerRoom& room() const { return room_; }

 private:
  using Ops = google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>;
  using OpCheck = Status (Transaction::*)(const etcdserverpb::RequestOp&);

  ReadBounds bounds() const;

  Status Decide(const etcdserverpb::TxnRequest& request);
  StatusOr<bool> Holds(const etcdserverpb::Compare& compare);
  const Ops& NextBranch(const etcdserverpb::TxnRequest& request, bool* succeeded = nullptr);
  Status CheckBranch(const etcdserverpb::TxnRequest& request, OpCheck check);
  Status CheckPut(const etcdserverpb::RequestOp& op);
  Status CheckRange(const etcdserverpb::RequestOp& op);
  Status Execute(const etcdserverpb::TxnRequest& request, etcdserverpb::TxnResponse* response);
  Status ExecuteOp(const etcdserverpb::RequestOp& op, etcdserverpb::ResponseOp* response);
  Status ExecutePut(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response);
  void FreeAnswers();

  MvccView* view_;
  ReadBounds bounds_;    // before the first change
  BatchWriter* writer_;  // null: reads only
  // Which branch each transaction takes, the outermost first, nested ones in the order in which
  // they stand in the branches taken; and the next to be looked at.
  std::vector<bool> path_;
  size_t next_ = 0;
  AnswerRoom room_;
  std::vector<etcdserverpb::TxnResponse*> under_way_;  // the outermost first
};

}  // namespace raftkv::store
