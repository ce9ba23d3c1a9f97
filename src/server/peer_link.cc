#include "server/peer_link.h"

#include <spdlog/spdlog.h>

#include "server/peer_channel.h"
#include "server/queue_stream.h"

namespace raftkv::server {
namespace {

// What may wait for one peer. Past it messages are dropped: a peer that is that far behind is
// served by Raft's own retries, and memory stays bounded.
constexpr size_t kOutboxBytesMax = 64u << 20;
constexpr auto kReconnectPause = std::chrono::milliseconds(50);
// After the peer has said no: only an operator can change that.
constexpr auto kRefusedPause = std::chrono::seconds(5);

}  // namespace

PeerLink::PeerLink(PeerLinkOptions options) : options_(std::move(options)) {
  for (const Url& url : options_.urls) {
    stubs_.push_back(peer::v1::Peer::NewStub(MakePeerChannel(url)));
  }
}

// One attempt at a stream. Its callbacks never come during or after OnDone; they use plain
// pointers, so that neither the stream nor the link is destroyed by them.
class PeerLink::Stream final : public ClientStream<peer::v1::FrameBatch, peer::v1::Accepted> {
 public:
  explicit Stream(PeerLink* link) : ClientStream(link->options_.loop->open()), link_(link) {
    const PeerLinkOptions& options = link_->options_;
    AddPeerMetadata(&context(), options.cluster, options.self, options.id, options.advertise_url);
  }

  void Start(peer::v1::Peer::Stub* stub, grpc::CompletionQueue* queue) {
    StartCall(stub->PrepareAsyncStream(&context(), queue));
  }

  void Cancel() { context().TryCancel(); }

  // No more writes will be started; OnDone follows. Only the first call counts.
  void Release() {
    if (!released_.exchange(true)) Finish();
  }

 protected:
  void OnStarted(bool ok) override {
    if (!ok) {
      link_->OnWritten(false);
      return;
    }
    StartRead(&accepted_);
    link_->OnWritten(true);
  }

  void OnWriteDone(bool ok) override { link_->OnWritten(ok); }

  // The first read is the peer's consent; the second ends with the stream, which is how a peer's
  // death shows while nothing is being written.
  void OnReadDone(bool ok) override {
    if (!ok) {
      link_->OnBroken();
      return;
    }
    link_->OnAccepted();
    StartRead(&accepted_);
  }

  void OnDone() override { link_->OnEnded(status()); }

 private:
  PeerLink* const link_;
  peer::v1::Accepted accepted_;
  std::atomic<bool> released_{false};
};

PeerLink::~PeerLink() {
  Cancel();
  WaitUntilEnded();
}

bool PeerLink::Send(peer::v1::FrameBatch* batch, bool need_stream) {
  const size_t bytes = batch->ByteSizeLong();
  std::shared_ptr<Stream> stream;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return false;
    OpenStreamIfDue();
    if (need_stream && !connected_) return false;
    if (!stream_ || waiting_bytes_ + bytes > kOutboxBytesMax) {
      dropped_.fetch_add(batch->frames_size(), std::memory_order_relaxed);
      return false;
    }
    if (waiting_.frames_size() == 0) {
      waiting_.Swap(batch);
    } else {
      for (auto& frame : *batch->mutable_frames()) waiting_.add_frames()->Swap(&frame);
    }
    waiting_bytes_ += bytes;
    if (StartWriteIfIdle()) stream = stream_;
  }
  if (stream) stream->StartWrite(&in_flight_);
  return true;
}

void PeerLink::OpenStreamIfDue() {
  const auto now = std::chrono::steady_clock::now();
  if (stream_ || now < next_attempt_) return;
  next_attempt_ = now + kReconnectPause;
  stream_ = std::make_shared<Stream>(this);
  last_stream_.reset();
  writing_ = true;  // until it has started, which counts as a first write
  connected_ = false;
  broken_ = false;
  stream_->Start(stubs_[current_].get(), options_.loop->queue());
}

// If true, the caller writes in_flight_, which is then gRPC's until OnWritten.
bool PeerLink::StartWriteIfIdle() {
  if (!stream_ || broken_ || writing_ || waiting_.frames_size() == 0) return false;
  writing_ = true;
  in_flight_.Clear();
  in_flight_.Swap(&waiting_);
  waiting_bytes_ = 0;
  return true;
}

void PeerLink::OnWritten(bool ok) {
  Stream* stream = nullptr;
  Stream* ended = nullptr;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
    if (broken_) {
      connected_ = false;
      ended = stream_.get();
    } else if (StartWriteIfIdle()) {
      stream = stream_.get();
    }
  }
  if (stream != nullptr) stream->StartWrite(&in_flight_);
  if (ended != nullptr) ended->Release();
}

void PeerLink::OnAccepted() {
  std::lock_guard lock(mutex_);
  connected_ = !broken_;
  if (reported_down_) spdlog::info("peer connected peer={}", options_.name);
  reported_down_ = false;
}

void PeerLink::OnBroken() {
  Stream* ended = nullptr;
  {
    std::lock_guard lock(mutex_);
    broken_ = true;
    connected_ = false;
    // A write that is under way, or about to be started by another thread, fails and ends the
    // stream in OnWritten; ending it here could pull the call from under that write.
    if (!writing_) ended = stream_.get();
  }
  if (ended != nullptr) ended->Release();
}

void PeerLink::OnEnded(const grpc::Status& status) {
  bool removed = false;
  {
    std::lock_guard lock(mutex_);
    removed = !stopped_ && IsRemovedStatus(status);
  }
  // Before the link counts as ended: then it may be destroyed.
  if (removed) options_.on_removed(status.error_message());

  std::lock_guard lock(mutex_);
  if (!stopped_ && !reported_down_) {
    reported_down_ = true;
    spdlog::warn("peer connection lost peer={} address={} reason=\"{}\"", options_.name,
                 options_.urls[current_].HostPort(), status.error_message());
  }
  if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION || IsRemovedStatus(status)) {
    next_attempt_ = std::chrono::steady_clock::now() + kRefusedPause;
  }
  // Another address of the same peer may be reachable.
  current_ = (current_ + 1) % options_.urls.size();
  last_stream_ = std::move(stream_);
  connected_ = false;
  writing_ = false;
  // What waited was meant for a peer that was there; by the next stream it is out of date.
  waiting_.Clear();
  waiting_bytes_ = 0;
  ended_.notify_all();
}

void PeerLink::Cancel() {
  std::shared_ptr<Stream> stream;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    stream = stream_;
  }
  if (!stream) return;
  stream->Cancel();
  OnBroken();
}

void PeerLink::WaitUntilEnded() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return stream_ == nullptr; });
}

bool PeerLink::has_ended() const {
  std::lock_guard lock(mutex_);
  return stopped_ && stream_ == nullptr;
}

bool PeerLink::connected() const {
  std::lock_guard lock(mutex_);
  return connected_;
}

Url PeerLink::url() const {
  std::lock_guard lock(mutex_);
  return options_.urls[current_];
}

}  // namespace raftkv::server
