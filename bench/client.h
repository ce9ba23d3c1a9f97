// One client of the load: a request at a time, its messages used again for each.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "bench/options.h"
#include "bench/schedule.h"
#include "rpc.grpc.pb.h"

namespace raftkv::bench {

// What the clients of a run draw from.
struct Sources {
  explicit Sources(const BenchOptions& options);

  LoadOrder load;
  KeyChooser keys;
  Values values;
  Rng mix;
};

// On the thread of the completion queue, whose tags are the clients.
class Client {
 public:
  Client(const BenchOptions& options, Sources* sources, etcdserverpb::KV::Stub* stub,
         grpc::CompletionQueue* queue);

  // Sends a request that was due at `start`; latency counts from there.
  void SendNext(Clock::time_point start);
  // The same once more.
  void SendAgain();

  // The answer that came.
  const grpc::Status& status() const { return status_; }
  Clock::time_point start() const { return start_; }
  // Whether a read or a delete found a key, or a comparison held.
  bool found() const;

 private:
  enum class Call { kPut, kRange, kDelete, kTxn };

  void MakePut(uint64_t key, etcdserverpb::PutRequest* put);
  void MakeRange();
  void MakeTxn();
  void MakeLoad();

  const BenchOptions& options_;
  Sources* const sources_;
  etcdserverpb::KV::Stub* const stub_;
  grpc::CompletionQueue* const queue_;

  Call call_ = Call::kPut;
  Clock::time_point start_;
  std::optional<grpc::ClientContext> context_;  // gRPC wants a new one for each call
  grpc::Status status_;
  etcdserverpb::PutRequest put_;
  etcdserverpb::PutResponse put_response_;
  etcdserverpb::RangeRequest range_;
  etcdserverpb::RangeResponse range_response_;
  etcdserverpb::DeleteRangeRequest delete_;
  etcdserverpb::DeleteRangeResponse delete_response_;
  etcdserverpb::TxnRequest txn_;
  etcdserverpb::TxnResponse txn_response_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::PutResponse>> put_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>> range_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::DeleteRangeResponse>>
      delete_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::TxnResponse>> txn_reader_;
};

}  // namespace raftkv::bench
