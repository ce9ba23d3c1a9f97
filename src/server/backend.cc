#include "server/backend.h"

#include <random>
#include <utility>

#include "server/member_rules.h"
#include "store/delete_count.h"
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

Status ErrNoSpace() {
  return {Code::kResourceExhausted, "etcdserver: mvcc: database space exceeded"};
}

Status ErrCorrupt() { return {Code::kCorruption, "etcdserver: corrupt cluster"}; }

// Whether any branch of the transaction puts something.
bool Puts(const etcdserverpb::TxnRequest& txn) {
  const auto puts = [](const auto& operations) {
    for (const etcdserverpb::RequestOp& op : operations) {
      if (op.has_request_put() || (op.has_request_txn() && Puts(op.request_txn()))) return true;
    }
    return false;
  };
  return puts(txn.success()) || puts(txn.failure());
}

}  // namespace

Status ErrEmptySessionClient() {
  return {Code::kInvalidArgument, "raftkv: the session's client id is empty"};
}

Backend::Backend(const ServerOptions& options, store::Engine* engine, store::KvStore* store,
                 store::ApplyLoop* apply_loop, RaftLoop* raft_loop, const EventLoop* event_loop,
                 ReaderPool* readers, ReaderPool* background, Membership base)
    : options_(options),
      engine_(engine),
      store_(store),
      apply_loop_(apply_loop),
      raft_loop_(raft_loop),
      event_loop_(event_loop),
      readers_(readers),
      background_(background),
      base_(std::move(base)),
      next_request_id_(RandomRequestIdBase()) {}

void Backend::FillHeader(etcdserverpb::ResponseHeader* header) const {
  header->set_cluster_id(options_.cluster_id.value());
  header->set_member_id(options_.id.value());
  header->set_raft_term(raft_loop_->term().value());
}

template <typename Request, typename Response>
void Backend::Write(store::CommandType type, const Request& request,
                    const store::SessionRef& session, Done<Response> done) {
  if (corrupt_) {
    done(ErrCorrupt(), {});
    return;
  }
  Submit(type, request, session, std::move(done));
}

template <typename Request, typename Response>
void Backend::WriteIfFew(store::CommandType type, Request request, const store::SessionRef& session,
                         Done<Response> done) {
  if (!store::DeletesRanges(request)) {
    Write(type, request, session, std::move(done));
    return;
  }
  readers_->Post(
      [this, type, request = std::move(request), session, done = std::move(done)]() mutable {
        if (Status status = store_->CheckDeletes(request); !status.ok()) {
          done(std::move(status), {});
          return;
        }
        Write(type, request, session, std::move(done));
      });
}

template <typename Request, typename Response>
void Backend::Submit(store::CommandType type, const Request& request,
                     const store::SessionRef& session, Done<Response> done) {
  if (Status status = CheckVoting(); !status.ok()) {
    done(std::move(status), {});
    return;
  }
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
void Backend::Answer(const Reading<Response>& reading, StatusOr<Response> response) const {
  if (!response.ok()) {
    reading.done(response.status(), {});
    return;
  }
  FillHeader(response->mutable_header());
  reading.done(Status::Ok(), *std::move(response));
}

// To wake a reader thread and to go to sleep again takes more than to read a key from memory. But
// nothing on the event loop may wait for the disk, and heartbeats not for many reads.
template <typename Response>
void Backend::ReadNow(std::shared_ptr<Reading<Response>> reading) {
  if (reading->read_at_once && event_loop_ != nullptr && event_loop_->HasTime()) {
    if (std::optional<StatusOr<Response>> response = reading->read_at_once()) {
      Answer(*reading, *std::move(response));
      return;
    }
  }
  readers_->Post([this, reading = std::move(reading)] { Answer(*reading, reading->read()); });
}

template <typename Response>
void Backend::Read(bool serializable, Reading<Response> reading) {
  if (Status status = CheckReading(serializable); !status.ok()) {
    reading.done(std::move(status), {});
    return;
  }
  auto shared = std::make_shared<Reading<Response>>(std::move(reading));
  if (serializable) {
    ReadNow(std::move(shared));
    return;
  }
  raft_loop_->ReadBarrier([this, shared = std::move(shared)](Status status) {
    if (status.ok()) {
      ReadNow(shared);
    } else {
      shared->done(std::move(status), {});
    }
  });
}

void Backend::Range(etcdserverpb::RangeRequest request, Done<etcdserverpb::RangeResponse> done) {
  if (Status status = store::Validate(request); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  const auto shared = std::make_shared<const etcdserverpb::RangeRequest>(std::move(request));
  Reading<etcdserverpb::RangeResponse> reading;
  reading.read = [this, shared] { return store_->Range(*shared); };
  if (shared->range_end().empty()) {
    reading.read_at_once = [this, shared] { return store_->GetInMemory(*shared); };
  }
  reading.done = std::move(done);
  Read(shared->serializable(), std::move(reading));
}

void Backend::Put(const etcdserverpb::PutRequest& request, const store::SessionRef& session,
                  Done<etcdserverpb::PutResponse> done) {
  if (Status status = store::Validate(request); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  if (no_space_) {
    done(ErrNoSpace(), {});
    return;
  }
  Write(store::CommandType::kPut, request, session, std::move(done));
}

void Backend::DeleteRange(etcdserverpb::DeleteRangeRequest request,
                          const store::SessionRef& session,
                          Done<etcdserverpb::DeleteRangeResponse> done) {
  if (Status status = store::Validate(request); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  WriteIfFew(store::CommandType::kDeleteRange, std::move(request), session, std::move(done));
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
    Reading<etcdserverpb::TxnResponse> reading;
    reading.read = [this, request = std::move(request)] { return store_->ReadOnlyTxn(request); };
    reading.done = std::move(done);
    Read(serializable, std::move(reading));
    return;
  }
  if (no_space_ && Puts(request)) {
    done(ErrNoSpace(), {});
    return;
  }
  WriteIfFew(store::CommandType::kTxn, std::move(request), session, std::move(done));
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
  response.set_dbsizeinuse(static_cast<int64_t>(
      engine_->IntProperty(engine_->kv().get(), "rocksdb.estimate-live-data-size")));
  response.set_leader(raft.leader.value());
  response.set_raftindex(raft.commit.value());
  response.set_raftterm(raft.term.value());
  response.set_raftappliedindex(store_->applied().position.index.value());
  response.set_islearner(!raft_loop_->votes());
  if (raft.leader.none()) response.add_errors("etcdserver: no leader");
  for (const etcdserverpb::AlarmMember& alarm : store_->Alarms()) {
    // etcd's notation of an alarm, as its clients print it.
    response.add_errors("memberID:" + std::to_string(alarm.memberid()) +
                        " alarm:" + etcdserverpb::AlarmType_Name(alarm.alarm()));
  }
  return response;
}

void Backend::AskStatus(const etcdserverpb::StatusRequest& /*request*/,
                        Done<etcdserverpb::StatusResponse> done) {
  readers_->Post([this, done = std::move(done)] { done(Status::Ok(), NodeStatus()); });
}

Membership Backend::AppliedConfiguration() const {
  if (std::optional<Membership> applied = store_->Configuration()) return *std::move(applied);
  return Base();
}

Membership Backend::Base() const {
  std::lock_guard lock(base_mutex_);
  return base_;
}

void Backend::SetBase(const Membership& base) {
  std::lock_guard lock(base_mutex_);
  base_ = base;
}

std::vector<etcdserverpb::Member> Backend::Describe(const Membership& membership) const {
  std::map<uint64_t, etcdserverpb::Member> published;
  for (etcdserverpb::Member& member : store_->Members()) {
    published[member.id()] = std::move(member);
  }
  std::vector<etcdserverpb::Member> out;
  for (const NodeId id : membership.All()) {
    etcdserverpb::Member& member = out.emplace_back();
    member.set_id(id.value());
    member.set_islearner(membership.IsLearner(id));
    const auto info = membership.info.find(id);
    if (info != membership.info.end()) {
      for (const std::string& url : info->second.peer_urls) member.add_peerurls(url);
    } else {
      for (const MemberOptions& known : options_.initial_cluster) {
        if (known.id == id) member.add_peerurls(known.peer_url.ToString());
      }
    }
    // As etcd: a member that never started has no name and no client URLs.
    const auto it = published.find(id.value());
    if (it == published.end()) continue;
    member.set_name(it->second.name());
    *member.mutable_clienturls() = it->second.clienturls();
  }
  return out;
}

etcdserverpb::MemberListResponse Backend::Members() const {
  etcdserverpb::MemberListResponse response;
  FillHeader(response.mutable_header());
  response.mutable_header()->set_revision(store_->revision());
  for (etcdserverpb::Member& member : Describe(AppliedConfiguration())) {
    *response.add_members() = std::move(member);
  }
  return response;
}

Status Backend::CheckReading(bool local) const {
  if (self_corrupt_) return ErrCorrupt();
  return local ? Status::Ok() : CheckVoting();
}

Status Backend::CheckVoting() const {
  return raft_loop_->votes() ? Status::Ok() : ErrLearnerUnsupported();
}

void Backend::RefreshAlarms() {
  bool no_space = false;
  bool corrupt = false;
  bool self_corrupt = false;
  for (const etcdserverpb::AlarmMember& alarm : store_->Alarms()) {
    if (alarm.alarm() == etcdserverpb::NOSPACE) no_space = true;
    if (alarm.alarm() != etcdserverpb::CORRUPT) continue;
    corrupt = true;
    self_corrupt = self_corrupt || alarm.memberid() == options_.id.value();
  }
  no_space_ = no_space;
  corrupt_ = corrupt;
  self_corrupt_ = self_corrupt;
}

bool Backend::HasAlarm(NodeId member, etcdserverpb::AlarmType type) const {
  for (const etcdserverpb::AlarmMember& alarm : store_->Alarms()) {
    if (alarm.alarm() == type && alarm.memberid() == member.value()) return true;
  }
  return false;
}

void Backend::ProposeAlarm(NodeId member, etcdserverpb::AlarmType type, bool raise) {
  etcdserverpb::AlarmRequest request;
  request.set_action(raise ? etcdserverpb::AlarmRequest::ACTIVATE
                           : etcdserverpb::AlarmRequest::DEACTIVATE);
  request.set_memberid(member.value());
  request.set_alarm(type);
  const uint64_t id = next_request_id_.fetch_add(1, std::memory_order_relaxed);
  raft_loop_->Write(
      store::EncodeCommand(store::CommandType::kAlarm, id, {}, request.SerializeAsString()),
      [](store::ApplyResult&&) {}, /*internal=*/true);
}

void Backend::ProposeSessionLimits(const store::SessionLimits& limits,
                                   std::function<void(Status)> done) {
  const uint64_t id = next_request_id_.fetch_add(1, std::memory_order_relaxed);
  raft_loop_->Write(
      store::EncodeCommand(store::CommandType::kSessionLimits, id, {},
                           store::EncodeSessionLimits(limits)),
      [done = std::move(done)](store::ApplyResult&& result) { done(result.status); },
      /*internal=*/true);
}

void Backend::Alarm(const etcdserverpb::AlarmRequest& request,
                    Done<etcdserverpb::AlarmResponse> done) {
  if (request.action() != etcdserverpb::AlarmRequest::GET) {
    Submit<etcdserverpb::AlarmRequest, etcdserverpb::AlarmResponse>(
        store::CommandType::kAlarm, request, {},
        [this, done = std::move(done)](Status status, etcdserverpb::AlarmResponse&& response) {
          RefreshAlarms();
          done(std::move(status), std::move(response));
        });
    return;
  }
  raft_loop_->ReadBarrier([this, done = std::move(done)](Status status) {
    etcdserverpb::AlarmResponse response;
    FillHeader(response.mutable_header());
    response.mutable_header()->set_revision(store_->revision());
    for (etcdserverpb::AlarmMember& alarm : store_->Alarms()) {
      *response.add_alarms() = std::move(alarm);
    }
    done(std::move(status), std::move(response));
  });
}

void Backend::HashKv(int64_t revision, Done<store::KvStore::Hash> done) {
  background_->Post([this, revision, done = std::move(done)] {
    StatusOr<store::KvStore::Hash> hash =
        store_->HashAt(revision, [this] { return stop_hashing_.load(); });
    if (hash.ok()) {
      done(Status::Ok(), *std::move(hash));
    } else {
      done(hash.status(), {});
    }
  });
}

void Backend::MemberList(const etcdserverpb::MemberListRequest& request,
                         Done<etcdserverpb::MemberListResponse> done) {
  // What members have published is in the store.
  const auto answer = [this, done] {
    readers_->Post([this, done] { done(Status::Ok(), Members()); });
  };
  if (!request.linearizable()) {
    answer();
    return;
  }
  if (Status status = CheckVoting(); !status.ok()) {
    done(std::move(status), {});
    return;
  }
  raft_loop_->ReadBarrier([answer, done = std::move(done)](Status status) {
    if (status.ok()) {
      answer();
    } else {
      done(std::move(status), {});
    }
  });
}

void Backend::MoveLeader(NodeId target, Done<etcdserverpb::MoveLeaderResponse> done) {
  const std::shared_ptr<const Membership> membership = raft_loop_->status().membership;
  const bool member = membership != nullptr && membership->Contains(target);
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
  if (self_corrupt_) {
    done(ErrCorrupt());
    return;
  }
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
