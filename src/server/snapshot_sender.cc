#include "server/snapshot_sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>

#include "raft.grpc.pb.h"
#include "server/peer_channel.h"

namespace raftkv::server {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t RandomId() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

// One request's progress, over all its connections.
struct SnapshotSender::Transfer {
  Request request;
  uint64_t next = 0;       // chunk to send
  uint64_t read = 0;       // the source has read all before it, and can go back to any of them
  uint64_t accepted = 0;   // the receiver has all before it
  bool exhausted = false;  // the last chunk was sent
  bool delivered = false;
  uint32_t resends = 0;  // of the chunk `accepted`
  Clock::time_point last_progress;
};

// One stream. Blocking calls: Cancel(All) and the deadline end them.
class SnapshotSender::Connection {
 public:
  Connection(SnapshotSender* sender, const Url& url, NodeId to)
      : sender_(sender), stub_(peer::v1::Peer::NewStub(MakePeerChannel(url))) {
    const SnapshotSenderOptions& options = sender->options_;
    AddPeerMetadata(&context_, options.cluster, options.self, to, options.advertise_url);
    context_.set_deadline(std::chrono::system_clock::now() + options.connection_max);
    {
      std::lock_guard lock(sender_->mutex_);
      sender_->call_ = &context_;
      if (sender_->stopped_ || sender_->current_cancelled_) context_.TryCancel();
    }
    stream_ = stub_->Snapshot(&context_);
  }
  ~Connection() {
    if (!finished_) {
      context_.TryCancel();
      (void)stream_->Finish();
    }
    std::lock_guard lock(sender_->mutex_);
    sender_->call_ = nullptr;
  }

  bool Write(const peer::v1::SnapshotPart& part) { return stream_->Write(part); }
  bool Read(peer::v1::SnapshotAnswer* answer) { return stream_->Read(answer); }
  // Why Write or Read failed; never OK.
  Status Failure() {
    finished_ = true;
    // The receiver's last word may still wait to be read.
    std::string refused;
    peer::v1::SnapshotAnswer answer;
    while (stream_->Read(&answer)) {
      if (answer.outcome() == peer::v1::SnapshotAnswer::REFUSED) refused = answer.reason();
    }
    const grpc::Status status = stream_->Finish();
    if (!refused.empty()) return {Code::kFailedPrecondition, "the receiver refused it: " + refused};
    if (status.ok()) return {Code::kUnavailable, "the receiver ended the stream"};
    return FromPeerStatus(status, "sending a snapshot");
  }

 private:
  SnapshotSender* const sender_;
  const std::unique_ptr<peer::v1::Peer::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<peer::v1::SnapshotPart, peer::v1::SnapshotAnswer>>
      stream_;
  bool finished_ = false;
};

SnapshotSender::SnapshotSender(SnapshotSenderOptions options, OpenChunkSource open,
                               AddressOf address, OnSent on_sent)
    : options_(std::move(options)),
      open_(std::move(open)),
      address_(std::move(address)),
      on_sent_(std::move(on_sent)),
      bucket_(options_.rate_bytes) {
  if (!options_.now) options_.now = [] { return Clock::now(); };
  thread_ = std::thread([this] { Run(); });
}

SnapshotSender::~SnapshotSender() { Stop(); }

void SnapshotSender::Send(NodeId to, Term term, Index first_index) {
  Request request{to, term, first_index, RandomId()};
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  for (Request& waiting : queue_) {
    if (waiting.to != to) continue;
    waiting = request;
    return;
  }
  queue_.push_back(request);
  changed_.notify_all();
}

void SnapshotSender::CancelAll() {
  std::lock_guard lock(mutex_);
  for (Request& request : queue_) request.cancelled = true;
  current_cancelled_ = true;
  if (call_ != nullptr) call_->TryCancel();
  changed_.notify_all();
}

void SnapshotSender::Cancel(NodeId to) {
  std::lock_guard lock(mutex_);
  for (Request& request : queue_) {
    if (request.to == to) request.cancelled = true;
  }
  if (!current_ || current_->to != to) return;
  current_cancelled_ = true;
  if (call_ != nullptr) call_->TryCancel();
  changed_.notify_all();
}

void SnapshotSender::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    if (call_ != nullptr) call_->TryCancel();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool SnapshotSender::Abandoned() const {
  std::lock_guard lock(mutex_);
  return stopped_ || current_cancelled_;
}

void SnapshotSender::Run() {
  while (true) {
    Request request;
    {
      std::unique_lock lock(mutex_);
      current_.reset();
      const auto due = [this] { return stopped_ || !queue_.empty(); };
      if (!source_) {
        changed_.wait(lock, due);
      } else if (!changed_.wait_for(lock, options_.reuse, due)) {
        lock.unlock();
        source_.reset();  // a checkpoint keeps files from being deleted
        continue;
      }
      if (stopped_) break;
      request = queue_.front();
      queue_.pop_front();
      current_ = request;
      current_cancelled_ = request.cancelled;
    }
    const auto start = options_.now();
    const StatusOr<Index> sent = Serve(request);
    {
      std::lock_guard lock(mutex_);
      ++(sent.ok() ? stats_.completed : stats_.failed);
      if (sent.ok()) {
        stats_.seconds += std::chrono::duration<double>(options_.now() - start).count();
      }
    }
    if (!sent.ok()) {
      spdlog::warn("snapshot not delivered to={:x} reason=\"{}\"", request.to.value(),
                   sent.status().message());
    }
    on_sent_(request.to, sent.ok() ? *sent : Index());
  }
  source_.reset();
}

// --- One request --------------------------------------------------------------------------------

Status SnapshotSender::OpenSourceFor(const Request& request) {
  const bool fits = source_ && source_->last().index + 1 >= request.first_index &&
                    options_.now() - source_time_ < options_.reuse;
  if (fits) return source_->Rewind(0);
  source_.reset();
  RAFTKV_ASSIGN_OR_RETURN(source_, open_());
  source_time_ = options_.now();
  if (source_->last().index + 1 < request.first_index) {
    source_.reset();
    return {Code::kInternal, "the snapshot ends before the log begins"};
  }
  return Status::Ok();
}

StatusOr<Index> SnapshotSender::Serve(const Request& request) {
  if (Abandoned()) return Status(Code::kCancelled, "this node does not lead any more");
  RAFTKV_RETURN_IF_ERROR(OpenSourceFor(request));
  const LogPosition last = source_->last();
  spdlog::info("sending a snapshot to={:x} snapshot={:x} index={} term={} bytes={}",
               request.to.value(), source_->id(), last.index.value(), last.term.value(),
               source_->bytes_expected());
  Transfer transfer;
  transfer.request = request;
  transfer.last_progress = options_.now();
  const auto start = options_.now();
  while (true) {
    const Status status = Attempt(&transfer);
    if (transfer.delivered) break;
    if (Abandoned()) return Status(Code::kCancelled, "abandoned: no longer wanted");
    if (status.code() != Code::kUnavailable) {
      // The source may be what is wrong.
      source_.reset();
      return status;
    }
    if (options_.now() - transfer.last_progress >= options_.give_up) return status;
    spdlog::info("snapshot connection lost to={:x} chunk={} reason=\"{}\"", request.to.value(),
                 transfer.accepted, status.message());
    Pause(options_.reconnect_pause);
  }
  spdlog::info("snapshot delivered to={:x} chunks={} seconds={:.1f}", request.to.value(),
               transfer.accepted, std::chrono::duration<double>(options_.now() - start).count());
  return last.index;
}

Status SnapshotSender::Attempt(Transfer* transfer) {
  const std::optional<Url> url = address_(transfer->request.to);
  if (!url) return {Code::kUnavailable, "the receiver's address is not known"};
  Connection connection(this, *url, transfer->request.to);
  peer::v1::SnapshotPart part;
  auto* start = part.mutable_start();
  start->set_term(transfer->request.term.value());
  start->set_snapshot(source_->id());
  start->set_transfer(transfer->request.transfer);
  start->mutable_last()->set_index(source_->last().index.value());
  start->mutable_last()->set_term(source_->last().term.value());
  start->set_bytes_expected(source_->bytes_expected());
  if (!connection.Write(part)) return connection.Failure();
  peer::v1::SnapshotAnswer answer;
  if (!connection.Read(&answer)) return connection.Failure();
  if (answer.outcome() == peer::v1::SnapshotAnswer::DELIVERED) {
    transfer->delivered = true;
    return Status::Ok();
  }
  if (answer.outcome() == peer::v1::SnapshotAnswer::REFUSED) {
    return {Code::kFailedPrecondition, "the receiver refused it: " + answer.reason()};
  }
  RAFTKV_RETURN_IF_ERROR(GoTo(transfer, answer.next_chunk()));
  return SendChunks(transfer, &connection);
}

// The receiver wants chunk `number` next. It may be one that this transfer has not come to: an
// earlier one left more there.
Status SnapshotSender::GoTo(Transfer* transfer, uint64_t number) {
  std::string skipped;
  if (number > transfer->read) {
    RAFTKV_RETURN_IF_ERROR(source_->Rewind(transfer->read));
    while (transfer->read < number) {
      RAFTKV_ASSIGN_OR_RETURN(const bool more, source_->Next(&skipped));
      if (!more) return {Code::kInternal, "the receiver asks for a chunk that does not exist"};
      ++transfer->read;
    }
  } else {
    RAFTKV_RETURN_IF_ERROR(source_->Rewind(number));
  }
  transfer->next = number;
  transfer->accepted = number;
  transfer->exhausted = false;
  return Status::Ok();
}

Status SnapshotSender::SendChunks(Transfer* transfer, Connection* connection) {
  while (!transfer->delivered) {
    const bool window_open = transfer->next - transfer->accepted < options_.window;
    if (window_open && !transfer->exhausted) {
      RAFTKV_RETURN_IF_ERROR(SendOne(transfer, connection));
    } else {
      RAFTKV_RETURN_IF_ERROR(TakeAnswer(transfer, connection));
    }
  }
  return Status::Ok();
}

Status SnapshotSender::SendOne(Transfer* transfer, Connection* connection) {
  peer::v1::SnapshotPart part;
  auto* chunk = part.mutable_chunk();
  chunk->set_number(transfer->next);
  RAFTKV_ASSIGN_OR_RETURN(const bool more, source_->Next(chunk->mutable_data()));
  if (!more) {
    transfer->exhausted = true;
    return Status::Ok();
  }
  ++transfer->next;
  transfer->read = std::max(transfer->read, transfer->next);
  const uint64_t bytes = chunk->data().size();
  const auto wait = bucket_.Take(bytes, options_.now());
  if (wait.count() > 0) Pause(wait);
  if (!connection->Write(part)) return connection->Failure();
  std::lock_guard lock(mutex_);
  stats_.bytes += bytes;
  return Status::Ok();
}

Status SnapshotSender::TakeAnswer(Transfer* transfer, Connection* connection) {
  peer::v1::SnapshotAnswer answer;
  if (!connection->Read(&answer)) return connection->Failure();
  switch (answer.outcome()) {
    case peer::v1::SnapshotAnswer::DELIVERED:
      transfer->delivered = true;
      return Status::Ok();
    case peer::v1::SnapshotAnswer::RESEND:
      if (++transfer->resends > options_.resends_max) {
        return {Code::kFailedPrecondition, "chunk " + std::to_string(answer.next_chunk()) +
                                               " was refused again and again: " + answer.reason()};
      }
      spdlog::warn("snapshot chunk is sent again to={:x} chunk={} reason=\"{}\"",
                   transfer->request.to.value(), answer.next_chunk(), answer.reason());
      return GoTo(transfer, answer.next_chunk());
    case peer::v1::SnapshotAnswer::CONTINUE:
      if (answer.next_chunk() <= transfer->accepted || answer.next_chunk() > transfer->next) {
        return {Code::kInternal, "the receiver acknowledges chunks out of order"};
      }
      transfer->accepted = answer.next_chunk();
      transfer->resends = 0;
      transfer->last_progress = options_.now();
      return Status::Ok();
    default:
      return {Code::kFailedPrecondition, "the receiver refused it: " + answer.reason()};
  }
}

void SnapshotSender::Pause(std::chrono::nanoseconds duration) {
  if (options_.pause) {
    options_.pause(duration);
    return;
  }
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return stopped_ || current_cancelled_; });
}

TransferStats SnapshotSender::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

bool SnapshotSender::sending() const {
  std::lock_guard lock(mutex_);
  return current_.has_value();
}

}  // namespace raftkv::server
