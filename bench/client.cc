#include "bench/client.h"

#include <chrono>
#include <string>

namespace raftkv::bench {

namespace pb = etcdserverpb;

// Streams of numbers that have nothing to do with each other, from one seed.
Sources::Sources(const BenchOptions& options)
    : load(options.keys),
      keys(options.distribution, options.keys, options.theta, options.seed * 1'000'003),
      values(static_cast<size_t>(options.value_bytes), options.random_values,
             options.seed * 1'000'003 + 1),
      mix(options.seed * 1'000'003 + 2) {}

Client::Client(const BenchOptions& options, Sources* sources, pb::KV::Stub* stub,
               grpc::CompletionQueue* queue)
    : options_(options), sources_(sources), stub_(stub), queue_(queue) {
  range_.set_serializable(options.serializable);
}

void Client::MakePut(uint64_t key, pb::PutRequest* put) {
  put->set_key(KeyOf(key));
  const std::string_view value = sources_->values.Next();
  put->set_value(value.data(), value.size());
}

// Pieces of so many keys that follow each other; with 16, 256... they are those with one prefix.
void Client::MakeRange() {
  const uint64_t width = options_.range_keys;
  const uint64_t first = sources_->keys.Next() / width * width;
  range_.set_key(KeyOf(first));
  // Behind the last key that has eight digits.
  range_.set_range_end(first + width <= 0xffffffff ? KeyOf(first + width) : "g");
}

// As a client does that changes what it has read: puts if the comparison holds, and otherwise reads
// the key again.
void Client::MakeTxn() {
  if (txn_.compare_size() == 0) {
    pb::Compare* compare = txn_.add_compare();
    if (options_.compare == Compare::kMod) {
      compare->set_target(pb::Compare::MOD);
      compare->set_result(pb::Compare::NOT_EQUAL);
      compare->set_mod_revision(0);
    } else {
      compare->set_target(pb::Compare::VALUE);
      compare->set_result(pb::Compare::EQUAL);
      compare->set_value(std::string(static_cast<size_t>(options_.value_bytes), 'v'));
    }
    txn_.add_success();
    txn_.add_failure();
  }
  const uint64_t key = sources_->keys.Next();
  txn_.mutable_compare(0)->set_key(KeyOf(key));
  MakePut(key, txn_.mutable_success(0)->mutable_request_put());
  txn_.mutable_failure(0)->mutable_request_range()->set_key(KeyOf(key));
}

void Client::MakeLoad() {
  txn_.clear_success();
  for (int i = 0; i < options_.batch && !sources_->load.done(); ++i) {
    MakePut(sources_->load.Take(), txn_.add_success()->mutable_request_put());
  }
}

void Client::SendNext(Clock::time_point start) {
  start_ = start;
  switch (options_.operation) {
    case Operation::kLoad:
      call_ = Call::kTxn;
      MakeLoad();
      break;
    case Operation::kTxn:
      call_ = Call::kTxn;
      MakeTxn();
      break;
    case Operation::kRange:
      call_ = Call::kRange;
      MakeRange();
      break;
    case Operation::kDelete:
      call_ = Call::kDelete;
      delete_.set_key(KeyOf(sources_->keys.Next()));
      break;
    case Operation::kPut:
    case Operation::kGet:
    case Operation::kMixed: {
      const bool put =
          options_.operation == Operation::kPut ||
          (options_.operation == Operation::kMixed &&
           static_cast<double>(sources_->mix.Below(10'000)) < options_.put_percent * 100);
      call_ = put ? Call::kPut : Call::kRange;
      if (put) {
        MakePut(sources_->keys.Next(), &put_);
      } else {
        range_.set_key(KeyOf(sources_->keys.Next()));
      }
    }
  }
  SendAgain();
}

void Client::SendAgain() {
  // Readers live in the memory of their call, which goes with its context.
  put_reader_.reset();
  range_reader_.reset();
  delete_reader_.reset();
  txn_reader_.reset();
  context_.emplace();
  context_->set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::system_clock::duration>(
                             std::chrono::duration<double>(options_.timeout_seconds)));
  context_->set_wait_for_ready(options_.loads());
  switch (call_) {
    case Call::kPut:
      put_reader_ = stub_->AsyncPut(&*context_, put_, queue_);
      put_reader_->Finish(&put_response_, &status_, this);
      break;
    case Call::kRange:
      range_reader_ = stub_->AsyncRange(&*context_, range_, queue_);
      range_reader_->Finish(&range_response_, &status_, this);
      break;
    case Call::kDelete:
      delete_reader_ = stub_->AsyncDeleteRange(&*context_, delete_, queue_);
      delete_reader_->Finish(&delete_response_, &status_, this);
      break;
    case Call::kTxn:
      txn_reader_ = stub_->AsyncTxn(&*context_, txn_, queue_);
      txn_reader_->Finish(&txn_response_, &status_, this);
      break;
  }
}

bool Client::found() const {
  switch (call_) {
    case Call::kRange:
      return range_response_.count() > 0;
    case Call::kDelete:
      return delete_response_.deleted() > 0;
    case Call::kTxn:
      return txn_response_.succeeded();
    case Call::kPut:
      break;
  }
  return false;
}

}  // namespace raftkv::bench
