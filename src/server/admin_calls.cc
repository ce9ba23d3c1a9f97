#include "server/admin_calls.h"

#include <condition_variable>
#include <mutex>

#include "server/accept_call.h"
#include "server/queue_stream.h"
#include "server/unary_call.h"

namespace raftkv::server {
namespace {

// Calls that are served at once; more wait for one to end, and what waits is bounded too. Backups
// and defragmentations take as long as a client or a disk likes, so that most of the threads are
// kept for others.
constexpr size_t kThreads = 8;
constexpr size_t kWaitingMax = 64;
constexpr int kBackupsMax = 2;
constexpr int kDefragmentationsMax = 2;

grpc::Status TooMany(const std::string& what) {
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          "raftkv: too many " + what + " at once; try again when one has ended"};
}

// A handler that runs `method` of `admin` on one of `threads`.
template <typename Request, typename Response, typename Admin, typename Method>
auto BlockingHandler(ReaderPool* threads, Admin* admin, Method method) {
  return [threads, admin, method](UnaryCall<Request, Response>* call) {
    if (threads->queue_depth() >= kWaitingMax) {
      call->FinishAs(TooMany("administrative calls"), {});
      return;
    }
    threads->Post([admin, method, call] {
      Response response;
      const grpc::Status status = (admin->*method)(&call->context(), &call->request(), &response);
      call->FinishAs(status, response);
    });
  };
}

}  // namespace

// A backup on its way to a client, one piece at a time.
class AdminCalls::BackupCall final : public StreamOperations {
 public:
  BackupCall(AdminCalls* calls, grpc::ServerCompletionQueue* queue)
      : StreamOperations(calls->open_), calls_(calls), queue_(queue) {}

  void Accept() {
    calls_->maintenance_.RequestSnapshot(&context_, &request_, &writer_, queue_, queue_,
                                         Begin(&accept_));
  }

 protected:
  void OnReadDone(bool) override {}
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    client_there_ = ok;
    written_.notify_one();
  }
  void OnDone() override { delete this; }

 private:
  void OnAccepted(bool ok) {
    if (!ok) {
      NothingFollows();
      return;
    }
    calls_->AcceptBackup(queue_);
    if (!calls_->backups_.Enter()) {
      writer_.Finish(TooMany("backups"), BeginLast(&finish_));
      return;
    }
    calls_->threads_.Post([this] { Send(); });
  }

  // On one of the threads.
  void Send() {
    const grpc::Status status = calls_->maintenance_admin_.Snapshot(
        [this](const etcdserverpb::SnapshotResponse& piece) { return Write(piece); });
    calls_->backups_.Leave();
    writer_.Finish(status, BeginLast(&finish_));
  }

  bool Write(const etcdserverpb::SnapshotResponse& piece) {
    std::unique_lock lock(mutex_);
    writing_ = true;
    writer_.Write(piece, Begin(&write_));
    written_.wait(lock, [this] { return !writing_; });
    return client_there_;
  }

  AdminCalls* const calls_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::ServerContext context_;
  etcdserverpb::SnapshotRequest request_;
  grpc::ServerAsyncWriter<etcdserverpb::SnapshotResponse> writer_{&context_};
  Operation accept_{this, static_cast<Operation::Handler>(&BackupCall::OnAccepted)};
  std::mutex mutex_;
  std::condition_variable written_;
  bool writing_ = false;
  bool client_there_ = true;
};

AdminCalls::AdminCalls(Backend* backend, const AdminHooks& hooks, OpenCalls* open)
    : backend_(backend),
      open_(open),
      backups_(kBackupsMax),
      defragmentations_(kDefragmentationsMax),
      cluster_admin_(backend),
      maintenance_admin_(backend, hooks),
      threads_(kThreads) {}

void AdminCalls::Register(grpc::ServerBuilder* builder) {
  builder->RegisterService(&cluster_);
  builder->RegisterService(&maintenance_);
}

void AdminCalls::Accept(grpc::ServerCompletionQueue* queue) {
  AcceptCluster(queue);
  AcceptMaintenance(queue);
  AcceptBackup(queue);
  AcceptOthers(queue);
}

void AdminCalls::AcceptCluster(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT: ten of its names in a row
  RAFTKV_ACCEPT(
      cluster_, MemberList, MemberListRequest, MemberListResponse,
      (PlainHandler<MemberListRequest, MemberListResponse>(backend_, &Backend::MemberList)));
  RAFTKV_ACCEPT(cluster_, MemberAdd, MemberAddRequest, MemberAddResponse,
                (BlockingHandler<MemberAddRequest, MemberAddResponse>(&threads_, &cluster_admin_,
                                                                      &ClusterAdmin::MemberAdd)));
  RAFTKV_ACCEPT(cluster_, MemberRemove, MemberRemoveRequest, MemberRemoveResponse,
                (BlockingHandler<MemberRemoveRequest, MemberRemoveResponse>(
                    &threads_, &cluster_admin_, &ClusterAdmin::MemberRemove)));
  RAFTKV_ACCEPT(cluster_, MemberUpdate, MemberUpdateRequest, MemberUpdateResponse,
                (BlockingHandler<MemberUpdateRequest, MemberUpdateResponse>(
                    &threads_, &cluster_admin_, &ClusterAdmin::MemberUpdate)));
  RAFTKV_ACCEPT(cluster_, MemberPromote, MemberPromoteRequest, MemberPromoteResponse,
                (BlockingHandler<MemberPromoteRequest, MemberPromoteResponse>(
                    &threads_, &cluster_admin_, &ClusterAdmin::MemberPromote)));
}

void AdminCalls::AcceptMaintenance(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT
  RAFTKV_ACCEPT(maintenance_, Status, StatusRequest, StatusResponse,
                (PlainHandler<StatusRequest, StatusResponse>(backend_, &Backend::AskStatus)));
  RAFTKV_ACCEPT(
      maintenance_, MoveLeader, MoveLeaderRequest, MoveLeaderResponse,
      ([backend = backend_](UnaryCall<MoveLeaderRequest, MoveLeaderResponse>* call) {
        backend->MoveLeader(
            NodeId(call->request().targetid()),
            Answer<UnaryCall<MoveLeaderRequest, MoveLeaderResponse>, MoveLeaderResponse>(call));
      }));
  RAFTKV_ACCEPT(maintenance_, Alarm, AlarmRequest, AlarmResponse,
                (PlainHandler<AlarmRequest, AlarmResponse>(backend_, &Backend::Alarm)));
  RAFTKV_ACCEPT(maintenance_, Defragment, DefragmentRequest, DefragmentResponse,
                ([this](UnaryCall<DefragmentRequest, DefragmentResponse>* call) {
                  if (!defragmentations_.Enter()) {
                    call->FinishAs(TooMany("defragmentations"), {});
                    return;
                  }
                  threads_.Post([this, call] {
                    DefragmentResponse response;
                    const grpc::Status status = maintenance_admin_.Defragment(
                        &call->context(), &call->request(), &response);
                    defragmentations_.Leave();
                    call->FinishAs(status, response);
                  });
                }));
  RAFTKV_ACCEPT(maintenance_, Hash, HashRequest, HashResponse,
                (BlockingHandler<HashRequest, HashResponse>(&threads_, &maintenance_admin_,
                                                            &MaintenanceAdmin::Hash)));
  RAFTKV_ACCEPT(maintenance_, HashKV, HashKVRequest, HashKVResponse,
                (BlockingHandler<HashKVRequest, HashKVResponse>(&threads_, &maintenance_admin_,
                                                                &MaintenanceAdmin::HashKV)));
}

// A method that nobody takes the calls of would leave its clients without an answer.
void AdminCalls::AcceptOthers(grpc::ServerCompletionQueue* queue) {
  using namespace etcdserverpb;  // NOLINT
  RAFTKV_ACCEPT(maintenance_, Downgrade, DowngradeRequest, DowngradeResponse,
                ([](UnaryCall<DowngradeRequest, DowngradeResponse>* call) {
                  call->FinishAs({grpc::StatusCode::UNIMPLEMENTED, ""}, {});
                }));
}

void AdminCalls::AcceptBackup(grpc::ServerCompletionQueue* queue) {
  (new BackupCall(this, queue))->Accept();  // owns itself
}

}  // namespace raftkv::server
