#include "server/transport.h"

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "raft.grpc.pb.h"
#include "server/peer_codec.h"

namespace raftkv::server {
namespace {

// What may wait for one peer. Past it messages are dropped: a peer that is that far behind is
// served by Raft's own retries, and memory stays bounded.
constexpr size_t kOutboxBytesMax = 64u << 20;
constexpr auto kReconnectPause = std::chrono::milliseconds(50);
// After the peer has said no: only an operator can change that.
constexpr auto kRefusedPause = std::chrono::seconds(5);

std::shared_ptr<grpc::Channel> MakeChannel(const MemberOptions& member) {
  grpc::ChannelArguments args;
  // A peer that comes back should be reached within a heartbeat or two, not after gRPC's default of
  // up to two minutes.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // Finds out that a peer's machine is gone although its connection looks open.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetMaxSendMessageSize(-1);
  // Channels to one address share a connection by default; peers must not share their fate with
  // clients of the same process.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(member.peer_url.HostPort(), grpc::InsecureChannelCredentials(),
                                   args);
}

}  // namespace

// The link to one peer. Its state is guarded by its mutex, which is never held during I/O; the
// stream's callbacks come on gRPC's threads.
class PeerLink : public std::enable_shared_from_this<PeerLink> {
 public:
  PeerLink(ClusterId cluster, NodeId self, const MemberOptions& member)
      : cluster_(cluster),
        self_(self),
        member_(member),
        stub_(peer::v1::Peer::NewStub(MakeChannel(member))) {}

  // Takes the frames of `batch`; false when they were dropped. With `need_stream`, refuses
  // unless a stream is open.
  bool Send(peer::v1::FrameBatch* batch, bool need_stream);

  void Stop();

  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  class Stream;

  // Both need mutex_.
  void OpenStreamIfDue();
  std::shared_ptr<Stream> StartWriteIfIdle();

  void OnWritten(bool ok);
  void OnAccepted();
  void OnBroken();
  void OnEnded(const grpc::Status& status);

  const ClusterId cluster_;
  const NodeId self_;
  const MemberOptions member_;
  const std::unique_ptr<peer::v1::Peer::Stub> stub_;
  std::atomic<uint64_t> dropped_{0};

  std::mutex mutex_;
  std::condition_variable ended_;
  bool stopped_ = false;
  std::shared_ptr<Stream> stream_;
  bool connected_ = false;  // the peer has accepted this stream
  bool broken_ = false;     // the peer ended it; no further write may start
  bool writing_ = false;
  bool reported_down_ = false;
  std::chrono::steady_clock::time_point next_attempt_;
  peer::v1::FrameBatch waiting_;
  size_t waiting_bytes_ = 0;
  peer::v1::FrameBatch in_flight_;
};

// One attempt at a stream. gRPC calls back on its own threads; the stream keeps itself alive until
// OnDone.
class PeerLink::Stream : public grpc::ClientBidiReactor<peer::v1::FrameBatch, peer::v1::Accepted>,
                         public std::enable_shared_from_this<PeerLink::Stream> {
 public:
  explicit Stream(std::shared_ptr<PeerLink> link) : link_(std::move(link)) {
    context_.AddMetadata(kPeerMetaVersion, kPeerProtocolVersion);
    context_.AddMetadata(kPeerMetaCluster, std::to_string(link_->cluster_.value()));
    context_.AddMetadata(kPeerMetaFrom, std::to_string(link_->self_.value()));
    context_.AddMetadata(kPeerMetaTo, std::to_string(link_->member_.id.value()));
  }

  void Start() {
    keep_alive_ = shared_from_this();
    link_->stub_->async()->Stream(&context_, this);
    // Writes are started by other threads than the callbacks': without a hold gRPC could declare
    // the call done in between.
    AddHold();
    StartRead(&accepted_);
    StartCall();
  }

  void Write(const peer::v1::FrameBatch* batch) { StartWrite(batch); }

  void Cancel() { context_.TryCancel(); }

  // No more writes will be started; lets OnDone come. Only the first call counts.
  void Release() {
    if (!released_.exchange(true)) RemoveHold();
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

  void OnDone(const grpc::Status& status) override {
    link_->OnEnded(status);
    auto self = std::move(keep_alive_);
  }

 private:
  std::shared_ptr<PeerLink> link_;
  grpc::ClientContext context_;
  peer::v1::Accepted accepted_;
  std::atomic<bool> released_{false};
  std::shared_ptr<Stream> keep_alive_;
};

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
    stream = StartWriteIfIdle();
  }
  if (stream) stream->Write(&in_flight_);
  return true;
}

void PeerLink::OpenStreamIfDue() {
  const auto now = std::chrono::steady_clock::now();
  if (stream_ || now < next_attempt_) return;
  next_attempt_ = now + kReconnectPause;
  stream_ = std::make_shared<Stream>(shared_from_this());
  writing_ = false;
  connected_ = false;
  broken_ = false;
  stream_->Start();
}

// in_flight_ is then owned by gRPC until OnWritten.
std::shared_ptr<PeerLink::Stream> PeerLink::StartWriteIfIdle() {
  if (!stream_ || broken_ || writing_ || waiting_.frames_size() == 0) return nullptr;
  writing_ = true;
  in_flight_.Clear();
  in_flight_.Swap(&waiting_);
  waiting_bytes_ = 0;
  return stream_;
}

void PeerLink::OnWritten(bool ok) {
  std::shared_ptr<Stream> stream;
  std::shared_ptr<Stream> ended;
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
    if (broken_) {
      connected_ = false;
      ended = stream_;
    } else {
      stream = StartWriteIfIdle();
    }
  }
  if (stream) stream->Write(&in_flight_);
  if (ended) ended->Release();
}

void PeerLink::OnAccepted() {
  std::lock_guard lock(mutex_);
  connected_ = !broken_;
  if (reported_down_) spdlog::info("peer connected peer={}", member_.name);
  reported_down_ = false;
}

void PeerLink::OnBroken() {
  std::shared_ptr<Stream> ended;
  {
    std::lock_guard lock(mutex_);
    broken_ = true;
    connected_ = false;
    // A write that is under way, or about to be started by another thread, fails and ends the
    // stream in OnWritten; ending it here could pull the call from under that write.
    if (!writing_) ended = stream_;
  }
  if (ended) ended->Release();
}

void PeerLink::OnEnded(const grpc::Status& status) {
  std::lock_guard lock(mutex_);
  if (!stopped_ && !reported_down_) {
    reported_down_ = true;
    spdlog::warn("peer connection lost peer={} address={} reason=\"{}\"", member_.name,
                 member_.peer_url.HostPort(), status.error_message());
  }
  if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION) {
    next_attempt_ = std::chrono::steady_clock::now() + kRefusedPause;
  }
  stream_.reset();
  connected_ = false;
  writing_ = false;
  // What waited was meant for a peer that was there; by the next stream it is out of date.
  waiting_.Clear();
  waiting_bytes_ = 0;
  ended_.notify_all();
}

void PeerLink::Stop() {
  std::unique_lock lock(mutex_);
  stopped_ = true;
  if (!stream_) return;
  std::shared_ptr<Stream> stream = stream_;
  lock.unlock();
  stream->Cancel();
  OnBroken();
  lock.lock();
  ended_.wait(lock, [this] { return stream_ == nullptr; });
}

Transport::Transport(ClusterId cluster, NodeId self, const std::vector<MemberOptions>& members)
    : cluster_(cluster), self_(self) {
  for (const MemberOptions& member : members) {
    if (member.id != self) {
      links_[member.id] = std::make_shared<PeerLink>(cluster, self, member);
    }
  }
}

Transport::~Transport() { Stop(); }

void Transport::Stop() {
  for (auto& [id, link] : links_) link->Stop();
}

PeerLink* Transport::LinkTo(NodeId id) const {
  const auto it = links_.find(id);
  return it == links_.end() ? nullptr : it->second.get();
}

void Transport::Send(std::span<const raft::Message> messages) {
  // Grouped by addressee: a peer gets one batch however many messages there are.
  for (const auto& [id, link] : links_) {
    peer::v1::FrameBatch batch;
    for (const raft::Message& message : messages) {
      if (message.to == id) EncodeMessage(message, batch.add_frames());
    }
    if (batch.frames_size() > 0) link->Send(&batch, /*need_stream=*/false);
  }
}

bool Transport::Forward(NodeId leader, std::vector<std::string> payloads) {
  PeerLink* link = LinkTo(leader);
  if (link == nullptr) return false;
  peer::v1::FrameBatch batch;
  auto* forward = batch.add_frames()->mutable_forward();
  for (std::string& payload : payloads) forward->add_payloads(std::move(payload));
  return link->Send(&batch, /*need_stream=*/true);
}

void Transport::RefuseForward(NodeId to, const std::vector<uint64_t>& request_ids,
                              bool overloaded) {
  PeerLink* link = LinkTo(to);
  if (link == nullptr) return;
  peer::v1::FrameBatch batch;
  auto* refused = batch.add_frames()->mutable_forward_refused();
  for (uint64_t id : request_ids) refused->add_request_ids(id);
  refused->set_reason(overloaded ? peer::v1::ForwardRefused::OVERLOADED
                                 : peer::v1::ForwardRefused::NOT_LEADER);
  link->Send(&batch, /*need_stream=*/false);
}

uint64_t Transport::dropped() const {
  uint64_t total = 0;
  for (const auto& [id, link] : links_) total += link->dropped();
  return total;
}

}  // namespace raftkv::server
