#include "store/reference_model.h"

#include <algorithm>

#include "store/kv_errors.h"

namespace raftkv::store {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

mvccpb::KeyValue ReferenceModel::ToKv(const std::string& key, const Version& version) {
  mvccpb::KeyValue kv;
  kv.set_key(key);
  kv.set_value(version.value);
  kv.set_create_revision(version.create);
  kv.set_mod_revision(version.mod);
  kv.set_version(version.version);
  return kv;
}

// The last change at or below `at`, if that is not a deletion.
const ReferenceModel::Version* ReferenceModel::State::Find(const std::string& key,
                                                           int64_t at) const {
  auto it = keys.find(key);
  if (it == keys.end()) return nullptr;
  const Version* found = nullptr;
  for (const Version& version : it->second) {
    if (version.mod <= at) found = &version;
  }
  return found != nullptr && found->version > 0 ? found : nullptr;
}

std::vector<std::string> ReferenceModel::State::Keys(const std::string& key, const std::string& end,
                                                     int64_t at) const {
  std::vector<std::string> found;
  for (const auto& [k, versions] : keys) {
    const bool inside = end.empty()                   ? k == key
                        : end == std::string(1, '\0') ? k >= key
                                                      : k >= key && k < end;
    if (inside && Find(k, at) != nullptr) found.push_back(k);
  }
  return found;
}

void ReferenceModel::State::Put(const std::string& key, const std::string& value, int64_t at) {
  Version version{at, at, 1, value};
  if (const Version* previous = Find(key, at)) {
    version.create = previous->create;
    version.version = previous->version + 1;
  }
  keys[key].push_back(version);
  revision = at;
}

StatusOr<etcdserverpb::RangeResponse> ReferenceModel::State::Range(const RangeRequest& r) const {
  if (r.revision() > revision) return ErrFutureRevision();
  if (r.revision() > 0 && r.revision() < compact_revision) return ErrCompacted();
  const int64_t at = r.revision() > 0 ? r.revision() : revision;
  const std::vector<std::string> found = Keys(r.key(), r.range_end(), at);
  etcdserverpb::RangeResponse response;
  response.mutable_header()->set_revision(revision);
  response.set_count(static_cast<int64_t>(found.size()));
  if (r.count_only()) return response;

  const bool filtered = r.min_mod_revision() != 0 || r.max_mod_revision() != 0 ||
                        r.min_create_revision() != 0 || r.max_create_revision() != 0;
  std::vector<mvccpb::KeyValue> kvs;
  for (const std::string& key : found) {
    kvs.push_back(ToKv(key, *Find(key, at)));
    // etcd: without an order and without filters only one more than the limit is looked at.
    if (r.limit() > 0 && r.sort_order() == RangeRequest::NONE && !filtered &&
        static_cast<int64_t>(kvs.size()) > r.limit()) {
      break;
    }
  }
  auto drop = [&kvs](auto pred) {
    kvs.erase(std::remove_if(kvs.begin(), kvs.end(), pred), kvs.end());
  };
  if (r.max_mod_revision() != 0)
    drop([&](auto& kv) { return kv.mod_revision() > r.max_mod_revision(); });
  if (r.min_mod_revision() != 0)
    drop([&](auto& kv) { return kv.mod_revision() < r.min_mod_revision(); });
  if (r.max_create_revision() != 0)
    drop([&](auto& kv) { return kv.create_revision() > r.max_create_revision(); });
  if (r.min_create_revision() != 0)
    drop([&](auto& kv) { return kv.create_revision() < r.min_create_revision(); });

  auto less = [&r](const mvccpb::KeyValue& a, const mvccpb::KeyValue& b) {
    switch (r.sort_target()) {
      case RangeRequest::VERSION:
        return a.version() < b.version();
      case RangeRequest::CREATE:
        return a.create_revision() < b.create_revision();
      case RangeRequest::MOD:
        return a.mod_revision() < b.mod_revision();
      case RangeRequest::VALUE:
        return a.value() < b.value();
      default:
        return a.key() < b.key();
    }
  };
  if (r.sort_order() == RangeRequest::DESCEND) {
    std::stable_sort(kvs.begin(), kvs.end(), [&](auto& a, auto& b) { return less(b, a); });
  } else {
    std::stable_sort(kvs.begin(), kvs.end(), less);
  }
  if (r.limit() > 0 && static_cast<int64_t>(kvs.size()) > r.limit()) {
    kvs.resize(static_cast<size_t>(r.limit()));
    response.set_more(true);
  }
  for (mvccpb::KeyValue& kv : kvs) {
    if (r.keys_only()) kv.clear_value();
    *response.add_kvs() = kv;
  }
  return response;
}

bool ReferenceModel::State::Holds(const TxnRequest& request) const {
  for (const Compare& c : request.compare()) {
    std::vector<Version> versions;
    for (const std::string& key : Keys(c.key(), c.range_end(), revision)) {
      versions.push_back(*Find(key, revision));
    }
    if (versions.empty()) {
      if (c.target() == Compare::VALUE) return false;
      versions.push_back({});
    }
    for (const Version& v : versions) {
      int64_t a = 0;
      int64_t b = 0;
      if (c.target() == Compare::VERSION) a = v.version, b = c.version();
      if (c.target() == Compare::CREATE) a = v.create, b = c.create_revision();
      if (c.target() == Compare::MOD) a = v.mod, b = c.mod_revision();
      if (c.target() == Compare::LEASE) b = c.lease();
      if (c.target() == Compare::VALUE) a = v.value.compare(c.value()), b = 0;
      if (c.result() == Compare::EQUAL && a != b) return false;
      if (c.result() == Compare::NOT_EQUAL && a == b) return false;
      if (c.result() == Compare::LESS && a >= b) return false;
      if (c.result() == Compare::GREATER && a <= b) return false;
    }
  }
  return true;
}

void ReferenceModel::Put(const State& before, const etcdserverpb::PutRequest& request, State* state,
                         int64_t at, etcdserverpb::PutResponse* response) {
  if (const Version* previous = state->Find(request.key(), at); previous && request.prev_kv()) {
    *response->mutable_prev_kv() = ToKv(request.key(), *previous);
  }
  std::string value = request.value();
  if (request.ignore_value()) {
    const Version* kept = state->Find(request.key(), at);
    if (kept == nullptr) kept = before.Find(request.key(), before.revision);
    value = kept->value;
  }
  state->Put(request.key(), value, at);
  response->mutable_header()->set_revision(state->revision);
}

void ReferenceModel::Delete(const etcdserverpb::DeleteRangeRequest& request, State* state,
                            int64_t at, etcdserverpb::DeleteRangeResponse* response) {
  for (const std::string& key : state->Keys(request.key(), request.range_end(), at)) {
    if (request.prev_kv()) *response->add_prev_kvs() = ToKv(key, *state->Find(key, at));
    state->keys[key].push_back({at, 0, 0, ""});
    state->revision = at;
    response->set_deleted(response->deleted() + 1);
  }
  response->mutable_header()->set_revision(state->revision);
}

void ReferenceModel::Txn(const State& before, const TxnRequest& request, State* state, int64_t at,
                         etcdserverpb::TxnResponse* response) {
  response->set_succeeded(before.Holds(request));
  for (const RequestOp& op : response->succeeded() ? request.success() : request.failure()) {
    auto* answer = response->add_responses();
    if (op.has_request_put()) {
      Put(before, op.request_put(), state, at, answer->mutable_response_put());
    } else if (op.has_request_delete_range()) {
      Delete(op.request_delete_range(), state, at, answer->mutable_response_delete_range());
    } else if (op.has_request_range()) {
      *answer->mutable_response_range() = state->Range(op.request_range()).value();
    } else if (op.has_request_txn()) {
      answer->mutable_response_txn()->mutable_header();
      Txn(before, op.request_txn(), state, at, answer->mutable_response_txn());
    }
  }
}

// The operations that will run, in order.
void ReferenceModel::Flatten(const TxnRequest& request, Flat* flat) const {
  for (const RequestOp& op : state_.Holds(request) ? request.success() : request.failure()) {
    if (op.has_request_txn()) {
      Flatten(op.request_txn(), flat);
    } else {
      flat->push_back(&op);
    }
  }
}

ApplyResult ReferenceModel::Execute(CommandType type, const google::protobuf::Message& request) {
  ApplyResult result;
  const int64_t at = state_.revision + 1;
  const State before = state_;
  if (type == CommandType::kPut) {
    const auto& put = dynamic_cast<const etcdserverpb::PutRequest&>(request);
    const bool keeps = put.ignore_value() || put.ignore_lease();
    if (put.lease() != 0) return {ErrLeaseNotFound(), {}, false};
    if (keeps && state_.Find(put.key(), state_.revision) == nullptr) {
      return {ErrKeyNotFound(), {}, false};
    }
    Put(before, put, &state_, at, &result.response.emplace<etcdserverpb::PutResponse>());
  } else if (type == CommandType::kDeleteRange) {
    Delete(dynamic_cast<const etcdserverpb::DeleteRangeRequest&>(request), &state_, at,
           &result.response.emplace<etcdserverpb::DeleteRangeResponse>());
  } else if (type == CommandType::kTxn) {
    const auto& txn = dynamic_cast<const TxnRequest&>(request);
    Flat flat;
    Flatten(txn, &flat);
    for (const RequestOp* op : flat) {
      if (!op->has_request_put()) continue;
      const auto& put = op->request_put();
      if ((put.ignore_value() || put.ignore_lease()) &&
          state_.Find(put.key(), state_.revision) == nullptr) {
        return {ErrKeyNotFound(), {}, false};
      }
      if (put.lease() != 0) return {ErrLeaseNotFound(), {}, false};
    }
    for (const RequestOp* op : flat) {
      if (!op->has_request_range()) continue;
      if (const auto range = state_.Range(op->request_range()); !range.ok()) {
        return {range.status(), {}, false};
      }
    }
    auto& response = result.response.emplace<etcdserverpb::TxnResponse>();
    Txn(before, txn, &state_, at, &response);
    response.mutable_header()->set_revision(state_.revision);
  } else if (type == CommandType::kCompact) {
    const int64_t revision =
        dynamic_cast<const etcdserverpb::CompactionRequest&>(request).revision();
    const bool first_of_nothing = revision == 0 && state_.compact_revision == 0;
    if (revision <= state_.compact_revision && !first_of_nothing)
      return {ErrCompacted(), {}, false};
    if (revision > state_.revision) return {ErrFutureRevision(), {}, false};
    state_.compact_revision = revision;
    result.response.emplace<etcdserverpb::CompactionResponse>().mutable_header()->set_revision(
        state_.revision);
  }
  return result;
}

void ReferenceModel::ExpireSessions() {
  for (int i = 0; i < 8; ++i) {
    auto oldest = sessions_.end();
    for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
      if (oldest == sessions_.end() ||
          it->second.last_used_ms / 1000 < oldest->second.last_used_ms / 1000) {
        oldest = it;  // the map is by name, so that the first name of a second stays
      }
    }
    if (oldest == sessions_.end()) return;
    if (oldest->second.last_used_ms / 1000 * 1000 + 1000 + limits_.ttl_ms > time_ms_) return;
    sessions_.erase(oldest);
  }
}

ApplyResult ReferenceModel::Apply(CommandType type, const google::protobuf::Message& request,
                                  const SessionRef& session, uint64_t time_ms) {
  time_ms_ = std::max(time_ms_, time_ms);
  if (!session.present()) return Execute(type, request);
  ExpireSessions();
  auto it = sessions_.find(session.client);
  if (it == sessions_.end()) {
    if (session.sequence > 1) return {ErrSessionUnknown(), {}, false};
    if (sessions_.size() >= limits_.sessions_max) return {ErrTooManySessions(), {}, false};
  } else if (session.sequence < it->second.sequence) {
    return {ErrSessionSequenceStale(), {}, false};
  } else if (session.sequence == it->second.sequence) {
    it->second.last_used_ms = time_ms_;
    ApplyResult again = it->second.answer;
    again.from_session = true;
    std::visit(
        [&again](const auto& response) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(response)>, std::monostate>) {
            if (response.ByteSizeLong() <= 64 * 1024) return;
            again.status = ErrSessionAnswerTooLarge(response.header().revision());
          }
        },
        it->second.answer.response);
    if (again.status != it->second.answer.status) again.response = {};
    return again;
  }
  ApplyResult result = Execute(type, request);
  sessions_[session.client] = {session.sequence, time_ms_, result};
  return result;
}

size_t ReferenceModel::VersionsLeft() const {
  size_t left = 0;
  for (const auto& [key, versions] : state_.keys) {
    for (size_t i = 0; i < versions.size(); ++i) {
      const Version& version = versions[i];
      const bool replaced =
          i + 1 < versions.size() && versions[i + 1].mod <= state_.compact_revision;
      // What was put after a deletion does not replace it; the deletion goes by itself.
      const bool old_tombstone = version.version == 0 && version.mod < state_.compact_revision;
      const bool tombstone_kept = version.version == 0 && !old_tombstone;
      if (!old_tombstone && (!replaced || tombstone_kept)) ++left;
    }
  }
  return left;
}

}  // namespace raftkv::store
