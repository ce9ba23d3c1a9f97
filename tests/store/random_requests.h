// Random requests over few keys, so that they meet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/rng.h"
#include "rpc.pb.h"
#include "store/command.h"

namespace raftkv::store {

struct RandomCommand {
  CommandType type = CommandType::kPut;
  std::shared_ptr<google::protobuf::Message> request;  // valid by Validate
  SessionRef session;
  uint64_t time_ms = 0;
};

class RandomRequests {
 public:
  explicit RandomRequests(uint64_t seed) : rng_(seed) {}

  // `revision` and `compact_revision` are the store's, to aim at.
  RandomCommand Next(int64_t revision, int64_t compact_revision);
  etcdserverpb::RangeRequest Range(int64_t revision, int64_t compact_revision);
  Rng& rng() { return rng_; }

 private:
  std::string Key();
  std::string End();
  std::string Value();
  int64_t Revision(int64_t revision, int64_t compact_revision);
  etcdserverpb::PutRequest Put();
  etcdserverpb::DeleteRangeRequest Delete();
  etcdserverpb::Compare Compare(int64_t revision);
  etcdserverpb::TxnRequest Txn(int64_t revision, int64_t compact_revision, int depth);
  void FillBranch(google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>* ops,
                  int64_t revision, int64_t compact_revision, int depth);

  Rng rng_;
  uint64_t time_ms_ = 1'000;
  uint64_t values_ = 0;
  uint64_t sequences_[6] = {};
};

}  // namespace raftkv::store
