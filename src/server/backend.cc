#include "server/backend.h"

#include <random>
#include <utility>

#include "store/kv_errors.h"
#include "store/validate.h"

namespace raftkv::server {
namespace {

// Request ids must be unique among requests that wait at the same time, over all nodes and
// restarts; 64 random bits to count from make a collision as unlikely as a checksum's.
uint64_t RandomRequestIdBase() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) ^ device();
}

}  // namespace

Status ErrEmptySessionClient() {
  return {Code::kInvalidArgument, "raftkv: the session's client id is empty"};
}

Backend::Backend(const ServerOptions& options, store::Engine* engine, store::KvStore* store,
                 store::ApplyLoop* apply_loop, RaftLoop* raft_loop, ReaderPool* readers)
    : options_(options),
      engine_(engine),
      store_(store),
      apply_loop_(apply_loop),
      raft_loop_(raft_loop),
      readers_(readers),
      next_request_id_(RandomRequestIdBase()) {}

void Backend::FillHeader(etcdserverpb::ResponseHeader* header) const {
  header->set_cluster_id(options_.cluster_id.value());
  header->set_member_id(options_.id.value());
  header->set_raft_term(raft_loop_->term().value());
}

template <typename Request, typename Response>
void Backend::Write(store::CommandType type, const Request& request,
                    const store::SessionRef& session, Done<Response> done) {
  const std::string body = request.SerializeAsString();
  if (body.size() > options_.max_request_bytes) {
    done(store::ErrRequestTooLarge(), {});
    return;
  }
  const uint64_t id = next_request_id_.fetch_add(1, std::memory_order_relaxed);
  raft_loop_->Write(store::EncodeCommand(type, id, session, body),
                    [this, done = std::move(done)](store::ApplyResult&& result) {
                      if (!result.status.ok()) {
                        done(std::move(result.status), {});
                        return;
                      }
                      auto* response = std::get_if<Response>(&result.response);
                      if (response == nullptr) {
                        // A session's first answer was to a request of another type: the client
                        // reused a sequence number.
                        done({Code::kInvalidArgument,
                              "raftkv: this session sequence was used for another kind of request"},
                             {});
                        return;
                      }
                      FillHeader(response->mutable_header());
                      done(Status::Ok(), std::move(*response));
                    });
}

template <typename Response>
void Backend::Read(bool serializable, std::function<StatusOr<Response>()> read,
                   Done<Response> done) {
  auto run = [this, read = std::move(read), done]() {
    StatusOr<Response> response = read();
    if (!response.ok()) {
      done(response.status(), {});
      return;
    }
    FillHeader(response->mutable_header());
    done(Status::Ok(), *std::move(response));
  };
  if (serializable) {
    readers_->Post(std::move(run));
    return;
  }
  raft_loop_->ReadBarrier([this, run = std::move(run), done = std::move(done)](Status status) {
    if (status.ok()) {
      readers_->Post(run);
    } else {
      done(std::move(status), {});
    }
  });
}

void Backend::Range(etcdserverpb::RangeRequest request, Done<etcdserverpb::RangeResponse> done) {
  if (Status status = store::Validate(request); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  const bool serializable = request.serializable();
  Read<etcdserverpb::RangeResponse>(
      serializable, [this, request = std::move(request)] { return store_->Range(request); },
      std::move(done));
}

void Backend::Put(const etcdserverpb::PutRequest& request, const store::SessionRef& session,
                  Done<etcdserverpb::PutResponse> done) {
  if (Status status = store::Validate(request); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  Write(store::CommandType::kPut, request, session, std::move(done));
}

void Backend::DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                          const store::SessionRef& session,
                          Done<etcdserverpb::DeleteRangeResponse> done) {
  if (Status status = store::Validate(request); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  Write(store::CommandType::kDeleteRange, request, session, std::move(done));
}

void Backend::Txn(etcdserverpb::TxnRequest request, const store::SessionRef& session,
                  Done<etcdserverpb::TxnResponse> done) {
  const int ops_max = static_cast<int>(options_.max_txn_ops);
  if (Status status = store::Validate(request, ops_max); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  // A session's sequence numbers count every request that carries one, reads too, so such a
  // transaction goes through the log.
  if (store::IsReadOnly(request) && !session.present()) {
    const bool serializable = store::IsSerializable(request);
    Read<etcdserverpb::TxnResponse>(
        serializable, [this, request = std::move(request)] { return store_->ReadOnlyTxn(request); },
        std::move(done));
    return;
  }
  Write(store::CommandType::kTxn, request, session, std::move(done));
}

void Backend::Compact(const etcdserverpb::CompactionRequest& request,
                      Done<etcdserverpb::CompactionResponse> done) {
  if (!request.physical()) {
    Write(store::CommandType::kCompact, request, {}, std::move(done));
    return;
  }
  Done<etcdserverpb::CompactionResponse> when_logical =
      [this, revision = request.revision(), done = std::move(done)](
          Status status, etcdserverpb::CompactionResponse&& response) {
        if (!status.ok()) {
          done(std::move(status), {});
          return;
        }
        auto answer = std::make_shared<etcdserverpb::CompactionResponse>(std::move(response));
        apply_loop_->WhenCompacted(revision, [answer, done](bool compacted) {
          if (compacted) {
            done(Status::Ok(), std::move(*answer));
          } else {
            done(store::ErrStopped(), {});
          }
        });
      };
  Write(store::CommandType::kCompact, request, {}, std::move(when_logical));
}

etcdserverpb::StatusResponse Backend::NodeStatus() const {
  const RaftStatus raft = raft_loop_->status();
  etcdserverpb::StatusResponse response;
  FillHeader(response.mutable_header());
  response.mutable_header()->set_revision(store_->revision());
  response.set_version(kEtcdApiVersion);
  response.set_dbsize(static_cast<int64_t>(engine_->DiskBytes()));
  response.set_dbsizeinuse(
      static_cast<int64_t>(engine_->IntProperty(engine_->kv(), "rocksdb.estimate-live-data-size")));
  response.set_leader(raft.leader.value());
  response.set_raftindex(raft.commit.value());
  response.set_raftterm(raft.term.value());
  response.set_raftappliedindex(store_->applied().position.index.value());
  if (raft.leader.none()) response.add_errors("etcdserver: no leader");
  return response;
}

etcdserverpb::MemberListResponse Backend::Members() const {
  etcdserverpb::MemberListResponse response;
  FillHeader(response.mutable_header());
  response.mutable_header()->set_revision(store_->revision());
  std::map<uint64_t, etcdserverpb::Member> published;
  for (etcdserverpb::Member& member : store_->Members()) {
    published[member.id()] = std::move(member);
  }
  for (const MemberOptions& member : options_.initial_cluster) {
    etcdserverpb::Member* out = response.add_members();
    out->set_id(member.id.value());
    out->add_peerurls(member.peer_url.ToString());
    // As etcd: a member that never started has no name and no client URLs.
    const auto it = published.find(member.id.value());
    if (it == published.end()) continue;
    out->set_name(it->second.name());
    *out->mutable_clienturls() = it->second.clienturls();
  }
  return response;
}

void Backend::MemberList(const etcdserverpb::MemberListRequest& request,
                         Done<etcdserverpb::MemberListResponse> done) {
  if (!request.linearizable()) {
    done(Status::Ok(), Members());
    return;
  }
  raft_loop_->ReadBarrier([this, done = std::move(done)](Status status) {
    if (status.ok()) {
      done(Status::Ok(), Members());
    } else {
      done(std::move(status), {});
    }
  });
}

void Backend::MoveLeader(NodeId target, Done<etcdserverpb::MoveLeaderResponse> done) {
  bool member = false;
  for (const MemberOptions& m : options_.initial_cluster) member |= m.id == target;
  // Asked first, as etcd does: only the leader answers about targets.
  if (raft_loop_->status().role != raft::Role::kLeader) {
    done(store::ErrNotLeader(), {});
    return;
  }
  if (!member) {
    done(store::ErrBadLeaderTransferee(), {});
    return;
  }
  raft_loop_->TransferLeadership(target, [this, done = std::move(done)](Status status) {
    etcdserverpb::MoveLeaderResponse response;
    FillHeader(response.mutable_header());
    done(std::move(status), std::move(response));
  });
}

void Backend::Ready(std::function<void(Status)> done) {
  raft_loop_->ReadBarrier(std::move(done), std::chrono::milliseconds(options_.election_timeout_ms));
}

void Backend::PublishAttributes() {
  if (publishing_.exchange(true)) return;
  etcdserverpb::Member self;
  self.set_id(options_.id.value());
  self.set_name(options_.name);
  for (const Url& url : options_.advertise_client_urls) self.add_clienturls(url.ToString());
  const std::string body = self.SerializeAsString();
  for (const etcdserverpb::Member& member : store_->Members()) {
    if (member.id() == self.id() && member.SerializeAsString() == body) {
      publishing_ = false;
      return;
    }
  }
  const uint64_t id = next_request_id_.fetch_add(1, std::memory_order_relaxed);
  raft_loop_->Write(
      store::EncodeCommand(store::CommandType::kMemberAttributes, id, {}, body),
      [this](store::ApplyResult&& result) {
        publishing_ = false;
        // It is idempotent: unless the node stops, any failure is worth another try.
        if (!result.status.ok() && result.status.message() != store::ErrStopped().message()) {
          PublishAttributes();
        }
      },
      /*internal=*/true);
}

}  // namespace raftkv::server
