#include "server/snapshot_receiver.h"

#include <spdlog/spdlog.h>

#include <deque>
#include <filesystem>
#include <utility>

#include "server/peer_channel.h"

namespace raftkv::server {
namespace {

namespace fs = std::filesystem;

using Answer = peer::v1::SnapshotAnswer;
using Clock = std::chrono::steady_clock;

Answer MakeAnswer(Answer::Outcome outcome, uint64_t next_chunk, const std::string& reason = "") {
  Answer answer;
  answer.set_outcome(outcome);
  answer.set_next_chunk(next_chunk);
  answer.set_reason(reason);
  return answer;
}

LogPosition Last(const peer::v1::SnapshotStart& start) {
  return {Index(start.last().index()), Term(start.last().term())};
}

}  // namespace

// One stream. It reads one part at a time: the next only after the receiver's thread has dealt with
// the last, so that memory is bounded and TCP holds up the sender. At any time it has a read under
// way, or a part with the thread; whoever has that turn ends the stream.
class SnapshotReceiver::Session final : public Stream,
                                        public std::enable_shared_from_this<Session> {
 public:
  Session(SnapshotReceiver* receiver, OpenCalls* open, Admit admit)
      : Stream(open), receiver_(receiver), admit_(std::move(admit)) {}

  NodeId from() const { return from_; }

  // Until OnDone.
  void Keep() { keep_alive_ = shared_from_this(); }

  void ReadNext() {
    std::lock_guard lock(mutex_);
    if (!finished_) StartRead(&part_);
  }

  // A `last` answer ends the stream.
  void Send(Answer answer, bool last) {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    answers_.push_back(std::move(answer));
    finished_ = last;
    WriteIfIdle();
  }

  void End(const grpc::Status& status) {
    {
      std::lock_guard lock(mutex_);
      if (std::exchange(finished_, true)) return;
      // None of them may be written any more, least of all as the one that finishes the stream.
      answers_.clear();
    }
    Finish(status);
  }

  void OnCalled() override {
    grpc::Status status = admit_(context(), &from_);
    if (status.ok() && receiver_ == nullptr) {
      status = {grpc::StatusCode::UNIMPLEMENTED, "this node takes no snapshots"};
    }
    if (!status.ok()) {
      End(status);
    } else {
      StartRead(&part_);
    }
  }

  void OnReadDone(bool ok) override {
    Event event{shared_from_this(), !ok, {}};
    if (ok) event.part.Swap(&part_);
    if (!ok) End(grpc::Status::OK);
    if (!receiver_->mail_.Push(std::move(event))) {
      End({grpc::StatusCode::UNAVAILABLE, "the receiver is stopping"});
    }
  }

  void OnWriteDone(bool) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    WriteIfIdle();
  }

  void OnDone() override { auto self = std::move(keep_alive_); }

 private:
  // Needs mutex_. The answer is gRPC's until OnWriteDone.
  void WriteIfIdle() {
    if (writing_ || answers_.empty()) return;
    writing_ = true;
    answer_ = std::move(answers_.front());
    answers_.pop_front();
    if (finished_ && answers_.empty()) {
      StartWriteAndFinish(&answer_, grpc::Status::OK);
    } else {
      StartWrite(&answer_);
    }
  }

  SnapshotReceiver* const receiver_;
  const Admit admit_;
  NodeId from_;
  peer::v1::SnapshotPart part_;
  std::shared_ptr<Session> keep_alive_;

  std::mutex mutex_;
  bool finished_ = false;  // Finish was called, or will be with the last answer
  bool writing_ = false;
  std::deque<Answer> answers_;
  Answer answer_;
};

SnapshotReceiver::SnapshotReceiver(std::string directory, OpenChunkSink open, OnReady on_ready)
    : directory_(std::move(directory)),
      open_(std::move(open)),
      on_ready_(std::move(on_ready)),
      mail_(/*capacity=*/0) {  // each session has at most one event in it, and a last one
  thread_ = std::thread([this] { Run(); });
}

StatusOr<std::unique_ptr<SnapshotReceiver>> SnapshotReceiver::Start(std::string directory,
                                                                    OpenChunkSink open,
                                                                    OnReady on_ready) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (!error) fs::create_directories(directory, error);
  if (error) {
    return Status(Code::kIoError, "can't empty the directory for incoming snapshots " + directory +
                                      ": " + error.message() + "; remove it");
  }
  return std::unique_ptr<SnapshotReceiver>(
      new SnapshotReceiver(std::move(directory), std::move(open), std::move(on_ready)));
}

SnapshotReceiver::~SnapshotReceiver() { Stop(); }

void SnapshotReceiver::Stop() {
  stopped_ = true;
  mail_.Close();
  if (thread_.joinable()) thread_.join();
}

void SnapshotReceiver::Expect(SnapshotReceiver* receiver, OpenCalls* open, Admit admit,
                              const Request& request) {
  auto session = std::make_shared<Session>(receiver, open, std::move(admit));
  session->Keep();
  session->Accept(request);
}

void SnapshotReceiver::Run() {
  std::vector<Mail> mail;
  while (mail_.Drain(&mail)) {
    for (Mail& item : mail) {
      auto* event = std::get_if<Event>(&item);
      if (event == nullptr) {
        EndRemoved(std::move(std::get<std::set<NodeId>>(item)));
      } else if (stopped_) {
        event->session->End({grpc::StatusCode::UNAVAILABLE, "the receiver is stopping"});
      } else {
        Handle(event);
      }
    }
  }
  DropIncoming();
}

void SnapshotReceiver::SetRemoved(std::set<NodeId> removed) { mail_.Push(std::move(removed)); }

void SnapshotReceiver::EndRemoved(std::set<NodeId> removed) {
  removed_ = std::move(removed);
  if (!incoming_ || !removed_.contains(incoming_->from)) return;
  spdlog::info("dropped the snapshot of a member that was removed from={:x}",
               incoming_->from.value());
  if (incoming_->session) incoming_->session->End(RemovedRefusal(incoming_->from));
  DropIncoming();
}

void SnapshotReceiver::Handle(Event* event) {
  if (event->ended) {
    if (!incoming_ || incoming_->session != event->session) return;
    spdlog::info("snapshot connection lost from={:x} chunk={}", incoming_->from.value(),
                 incoming_->sink->next_chunk());
    incoming_->session.reset();
  } else if (event->part.has_start()) {
    OnStart(event->session, event->part.start());
  } else if (event->part.has_chunk() && incoming_ && incoming_->session == event->session) {
    OnChunk(event->session, event->part.chunk());
  } else {
    event->session->End({grpc::StatusCode::ABORTED, "another transfer took this one's place"});
  }
}

// --- Starting and resuming ----------------------------------------------------------------------

std::string SnapshotReceiver::ReasonToRefuse(const peer::v1::SnapshotStart& start) const {
  if (start.snapshot() == 0 || start.last().index() == 0) return "it has no id or no position";
  if (Term(start.term()) < newest_term_) return "it is of a former leader's term";
  const bool behind = incoming_ && incoming_->session && incoming_->snapshot != start.snapshot() &&
                      incoming_->term == Term(start.term()) && Last(start) < incoming_->last;
  return behind ? "a newer snapshot is being received" : "";
}

void SnapshotReceiver::OnStart(const std::shared_ptr<Session>& session,
                               const peer::v1::SnapshotStart& start) {
  // It may have been removed since its stream was let in.
  if (removed_.contains(session->from())) {
    session->End(RemovedRefusal(session->from()));
    return;
  }
  if (start.transfer() == delivered_transfer_ && delivered_transfer_ != 0) {
    session->Send(MakeAnswer(Answer::DELIVERED, 0), /*last=*/true);
    return;
  }
  if (const std::string reason = ReasonToRefuse(start); !reason.empty()) {
    spdlog::warn("refused a snapshot from={:x} index={} reason=\"{}\"", session->from().value(),
                 start.last().index(), reason);
    session->Send(MakeAnswer(Answer::REFUSED, 0, reason), /*last=*/true);
    return;
  }
  newest_term_ = Term(start.term());
  if (incoming_ && incoming_->session && incoming_->session != session) {
    incoming_->session->End({grpc::StatusCode::ABORTED, "another transfer took this one's place"});
  }
  if (!incoming_ || incoming_->snapshot != start.snapshot()) {
    if (const Status begun = Begin(start); !begun.ok()) {
      Refuse(session, begun.message());
      return;
    }
  }
  incoming_->from = session->from();
  incoming_->term = Term(start.term());
  incoming_->transfer = start.transfer();
  incoming_->session = session;
  incoming_->resend_asked = false;
  const uint64_t next = incoming_->sink->next_chunk();
  spdlog::info("receiving a snapshot from={:x} snapshot={:x} index={} term={} bytes={} chunk={}",
               session->from().value(), start.snapshot(), start.last().index(), start.last().term(),
               start.bytes_expected(), next);
  if (incoming_->sink->complete()) {
    Complete();  // the connection broke after the last chunk
    return;
  }
  session->Send(MakeAnswer(Answer::CONTINUE, next), /*last=*/false);
  session->ReadNext();
}

Status SnapshotReceiver::Begin(const peer::v1::SnapshotStart& start) {
  DropIncoming();
  // A name of its own for each: what could not be removed is not in the way.
  const std::string path = directory_ + "/" + std::to_string(++directories_);
  std::error_code error;
  fs::create_directory(path, error);
  if (error) return {Code::kIoError, "can't make " + path + ": " + error.message()};
  incoming_.emplace();
  incoming_->directory = path;
  incoming_->begun = Clock::now();
  incoming_->snapshot = start.snapshot();
  incoming_->last = Last(start);
  RAFTKV_ASSIGN_OR_RETURN(incoming_->sink, open_(path, start.snapshot()));
  return Status::Ok();
}

// --- Chunks -------------------------------------------------------------------------------------

void SnapshotReceiver::OnChunk(const std::shared_ptr<Session>& session,
                               const peer::v1::SnapshotChunk& chunk) {
  const uint64_t wanted = incoming_->sink->next_chunk();
  if (chunk.number() != wanted && incoming_->resend_asked) {
    session->ReadNext();  // it was on its way when the resend was asked for
    return;
  }
  Status status =
      chunk.number() == wanted
          ? incoming_->sink->Add(chunk.data())
          : Status(Code::kInvalidArgument, "chunk " + std::to_string(chunk.number()) +
                                               " came instead of " + std::to_string(wanted));
  {
    std::lock_guard lock(stats_mutex_);
    stats_.bytes += chunk.data().size();
  }
  if (status.code() == Code::kInvalidArgument) {
    spdlog::warn("snapshot chunk refused from={:x} chunk={} reason=\"{}\"", session->from().value(),
                 wanted, status.message());
    incoming_->resend_asked = true;
    session->Send(MakeAnswer(Answer::RESEND, wanted, status.message()), /*last=*/false);
    session->ReadNext();
    return;
  }
  if (!status.ok()) {
    Refuse(session, status.message());
    return;
  }
  incoming_->resend_asked = false;
  if (incoming_->sink->complete()) {
    Complete();
    return;
  }
  session->Send(MakeAnswer(Answer::CONTINUE, wanted + 1), /*last=*/false);
  session->ReadNext();
}

void SnapshotReceiver::Complete() {
  const std::shared_ptr<Session> session = incoming_->session;
  const StatusOr<raft::SnapshotMeta> meta = incoming_->sink->Finish();
  if (!meta.ok()) {
    Refuse(session, meta.status().message());
    return;
  }
  spdlog::info("snapshot received from={:x} index={} chunks={}", incoming_->from.value(),
               meta->last.index.value(), incoming_->sink->next_chunk());
  {
    std::lock_guard lock(stats_mutex_);
    ++stats_.completed;
    stats_.seconds += std::chrono::duration<double>(Clock::now() - incoming_->begun).count();
  }
  delivered_transfer_ = incoming_->transfer;
  on_ready_(incoming_->from, incoming_->term, *meta);
  session->Send(MakeAnswer(Answer::DELIVERED, incoming_->sink->next_chunk()), /*last=*/true);
  DropIncoming();
}

void SnapshotReceiver::Refuse(const std::shared_ptr<Session>& session, const std::string& reason) {
  spdlog::warn("refused a snapshot from={:x} reason=\"{}\"", session->from().value(), reason);
  {
    std::lock_guard lock(stats_mutex_);
    ++stats_.failed;
  }
  session->Send(MakeAnswer(Answer::REFUSED, 0, reason), /*last=*/true);
  DropIncoming();
}

TransferStats SnapshotReceiver::stats() const {
  std::lock_guard lock(stats_mutex_);
  return stats_;
}

void SnapshotReceiver::DropIncoming() {
  if (!incoming_) return;
  const std::string path = incoming_->directory;
  incoming_.reset();
  std::error_code error;
  fs::remove_all(path, error);
  if (error) spdlog::warn("can't remove {}: {}; it is tried again at start", path, error.message());
}

}  // namespace raftkv::server
