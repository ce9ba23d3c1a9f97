#include "store/session_table.h"

#include <memory>
#include <utility>

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include "common/check.h"
#include "common/mutation.h"
#include "store/kv_errors.h"

namespace raftkv::store {
namespace {

constexpr uint64_t kSecondMs = 1000;

void CheckOk(const rocksdb::Status& status) { RAFTKV_CHECK(status.ok(), status.ToString()); }
void CheckOk(const Status& status) { RAFTKV_CHECK(status.ok(), status.ToString()); }

// The index knows the second only, so the whole of it must be over: a session lives for its ttl
// after its last use, and up to a second more.
bool Expired(uint64_t second_ms, uint64_t ttl_ms, uint64_t now_ms) {
  return now_ms >= kSecondMs && second_ms <= now_ms - kSecondMs &&
         now_ms - kSecondMs - second_ms >= ttl_ms;
}

}  // namespace

SessionTable::Verdict SessionTable::Admit(const SessionRef& session, const SessionLimits& limits,
                                          uint64_t now_ms, uint64_t* sessions) {
  Expire(limits.ttl_ms, now_ms, sessions);
  std::optional<SessionRecord> record = Find(session.client);
  if (!record) {
    // A sequence above 1 had a session once, so that it can't be known whether this write was
    // applied: the client must be told instead.
    if (session.sequence != 1) return {ErrSessionUnknown(), std::nullopt};
    if (*sessions >= limits.sessions_max) return {ErrTooManySessions(), std::nullopt};
    return {};
  }
  if (session.sequence < record->sequence) return {ErrSessionSequenceStale(), std::nullopt};
  if (session.sequence > record->sequence) return {};
  SessionRecord answer = *record;
  Touch(session.client, &*record, now_ms);
  changed_[session.client] = std::move(record);
  return {Status::Ok(), std::move(answer)};
}

void SessionTable::Store(const SessionRef& session, uint64_t now_ms, SessionRecord answer,
                         uint64_t* sessions) {
  if (std::optional<SessionRecord> before = Find(session.client)) {
    answer.last_used_ms = before->last_used_ms;
  } else {
    ++*sessions;
    answer.last_used_ms = now_ms;
    changed_times_[SessionTimeKey(now_ms, session.client)] = true;
  }
  answer.sequence = session.sequence;
  Touch(session.client, &answer, now_ms);
  changed_[session.client] = std::move(answer);
}

void SessionTable::Flush(rocksdb::WriteBatch* batch) {
  if (Mutated(Mutation::kSessionsLocal)) changed_.clear();
  for (const auto& [client, record] : changed_) {
    const std::string key = SessionKey(client);
    CheckOk(record ? batch->Put(kv_.get(), key, EncodeSessionRecord(key, *record))
                   : batch->Delete(kv_.get(), key));
  }
  for (const auto& [key, exists] : changed_times_) {
    CheckOk(exists ? batch->Put(kv_.get(), key, EncodeSessionTimeRecord(key))
                   : batch->Delete(kv_.get(), key));
  }
  changed_.clear();
  changed_times_.clear();
}

std::optional<SessionRecord> SessionTable::Find(const std::string& client) {
  if (auto it = changed_.find(client); it != changed_.end()) return it->second;
  const std::string key = SessionKey(client);
  rocksdb::PinnableSlice bytes;
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), kv_.get(), key, &bytes);
  if (status.IsNotFound()) return std::nullopt;
  CheckOk(status);
  StatusOr<SessionRecord> record = DecodeSessionRecord(key, {bytes.data(), bytes.size()});
  CheckOk(record.status());
  return std::move(record).value();
}

void SessionTable::Touch(const std::string& client, SessionRecord* record, uint64_t now_ms) {
  if (record->last_used_ms / kSecondMs != now_ms / kSecondMs) {
    changed_times_[SessionTimeKey(record->last_used_ms, client)] = false;
    changed_times_[SessionTimeKey(now_ms, client)] = true;
  }
  record->last_used_ms = now_ms;
}

void SessionTable::Expire(uint64_t ttl_ms, uint64_t now_ms, uint64_t* sessions) {
  for (int i = 0; i < kSessionsExpiredMax && Expired(floor_ms_, ttl_ms, now_ms); ++i) {
    const std::string oldest = OldestTimeKey();
    if (oldest.empty()) {
      floor_ = SessionTimeKey(now_ms, "");  // whoever comes next comes now or later
      floor_ms_ = now_ms / kSecondMs * kSecondMs;
      return;
    }
    std::string_view client;
    CheckOk(DecodeSessionTimeKey(oldest, &floor_ms_, &client));
    if (!Expired(floor_ms_, ttl_ms, now_ms)) {
      floor_ = SessionTimeKey(floor_ms_, "");  // others of this second may come and sort before it
      return;
    }
    floor_ = oldest;  // its second is over: nothing is added before it any more
    RAFTKV_CHECK(*sessions > 0, "more sessions in the time index than counted");
    --*sessions;
    changed_[std::string(client)] = std::nullopt;
    changed_times_[oldest] = false;
  }
}

std::string SessionTable::OldestTimeKey() {
  std::string oldest;
  for (auto it = changed_times_.lower_bound(floor_); it != changed_times_.end(); ++it) {
    if (!it->second) continue;
    oldest = it->first;
    break;
  }
  const std::string end(1, kSessionTimeKind + 1);
  const rocksdb::Slice upper_bound(end);
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  options.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, kv_.get()));
  for (it->Seek(floor_); it->Valid(); it->Next()) {
    const std::string key = it->key().ToString();
    auto change = changed_times_.find(key);
    if (change != changed_times_.end() && !change->second) continue;  // removed by this batch
    CheckOk(DecodeSessionTimeRecord(key, {it->value().data(), it->value().size()}));
    return oldest.empty() || key < oldest ? key : oldest;
  }
  CheckOk(it->status());
  return oldest;
}

}  // namespace raftkv::store
