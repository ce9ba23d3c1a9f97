#include "store/range_read.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "store/kv_errors.h"

namespace raftkv::store {
namespace {

using etcdserverpb::RangeRequest;
using mvccpb::KeyValue;

// -1, 0 or 1: how `a` and `b` compare by the sort target alone.
int CompareBy(RangeRequest::SortTarget target, const KeyValue& a, const KeyValue& b) {
  auto compare = [](const auto& x, const auto& y) { return x < y ? -1 : (y < x ? 1 : 0); };
  switch (target) {
    case RangeRequest::VERSION:
      return compare(a.version(), b.version());
    case RangeRequest::CREATE:
      return compare(a.create_revision(), b.create_revision());
    case RangeRequest::MOD:
      return compare(a.mod_revision(), b.mod_revision());
    case RangeRequest::VALUE:
      return compare(a.value(), b.value());
    default:
      return compare(a.key(), b.key());
  }
}

bool HasRevisionFilter(const RangeRequest& request) {
  return request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
         request.min_create_revision() != 0 || request.max_create_revision() != 0;
}

// Zero means no bound. Note that a negative maximum excludes everything, as in etcd.
bool PassesFilters(const RangeRequest& request, const KeyVersion& version) {
  auto within = [](int64_t value, int64_t min, int64_t max) {
    return (min == 0 || value >= min) && (max == 0 || value <= max);
  };
  return within(version.mod.main, request.min_mod_revision(), request.max_mod_revision()) &&
         within(version.create_revision, request.min_create_revision(),
                request.max_create_revision());
}

// Takes the keys of a range in key order and keeps those that the answer needs: in the answer
// itself, where key order is what was asked for. What it holds is taken from the answer's room.
class Collector {
 private:
  // Equal elements are ordered by key, ascending. (etcd's order of these is unspecified.)
  auto Before() const {
    return [target = request_.sort_target(), sign = order_ == RangeRequest::DESCEND ? -1 : 1](
               const KeyValue& a, const KeyValue& b) {
      const int by_target = sign * CompareBy(target, a, b);
      return by_target != 0 ? by_target < 0 : a.key() < b.key();
    };
  }

 public:
  Collector(const RangeRequest& request, AnswerRoom* room, etcdserverpb::RangeResponse* response)
      : request_(request), room_(room), response_(response) {
    order_ = request.sort_order();
    // etcd returns keys in order anyway, and takes "no order" for ascending with another target.
    if (order_ == RangeRequest::NONE && request.sort_target() != RangeRequest::KEY) {
      order_ = RangeRequest::ASCEND;
    }
    sorts_ = order_ == RangeRequest::DESCEND || request.sort_target() != RangeRequest::KEY;
    if (request.limit() > 0) limit_ = static_cast<uint64_t>(request.limit());
    if (request.sort_order() == RangeRequest::NONE && !HasRevisionFilter(request)) {
      // etcd then fetches one key more than the limit, in key order, and sorts only these. With a
      // sort target other than the key the answer depends on it.
      fetch_limit_ = limit_ == UINT64_MAX ? UINT64_MAX : limit_ + 1;
    }
  }

  // False: there is no room for it, and no use in going on.
  bool Add(const KeyVersion& version) {
    ++count_;
    if (request_.count_only() || matched_ >= fetch_limit_ || !PassesFilters(request_, version)) {
      return true;
    }
    ++matched_;
    if (!sorts_ && Kept() >= limit_) return true;
    KeyVersion kept = version;
    if (request_.keys_only() && request_.sort_target() != RangeRequest::VALUE) kept.value = {};
    const size_t bytes = AnswerBytes(kept);
    if (!room_->Take(bytes)) return false;
    if (!sorts_) {
      ToKeyValue(kept, response_->add_kvs());
      return true;
    }
    ToKeyValue(kept, &kvs_.emplace_back());
    unsorted_bytes_ += bytes;
    // Memory stays bounded by the limit, not by the range.
    if (limit_ <= UINT64_MAX / 4 &&
        (kvs_.size() >= 2 * limit_ + 1024 || unsorted_bytes_ >= kUnsortedBytesMax)) {
      Truncate();
    }
    return true;
  }

  void Finish() {
    if (sorts_) {
      Truncate();
      std::sort(kvs_.begin(), kvs_.end(), Before());
      response_->mutable_kvs()->Reserve(static_cast<int>(kvs_.size()));
      for (KeyValue& kv : kvs_) {
        if (request_.keys_only()) kv.clear_value();
        *response_->add_kvs() = std::move(kv);
      }
    }
    response_->set_count(count_);
    response_->set_more(matched_ > Kept());
  }

 private:
  // Gathered before what is behind the limit is dropped. Part of what kWriteAnswerBytesMax means.
  static constexpr size_t kUnsortedBytesMax = 16 << 20;

  uint64_t Kept() const { return static_cast<uint64_t>(response_->kvs_size()); }

  // Keeps the first `limit_` in sort order.
  void Truncate() {
    unsorted_bytes_ = 0;
    if (kvs_.size() <= limit_) return;
    auto end = kvs_.begin() + static_cast<ptrdiff_t>(limit_);
    std::nth_element(kvs_.begin(), end, kvs_.end(), Before());
    for (auto it = end; it != kvs_.end(); ++it) room_->Return(AnswerBytes(*it));
    kvs_.erase(end, kvs_.end());
  }

  const RangeRequest& request_;
  AnswerRoom* const room_;
  etcdserverpb::RangeResponse* const response_;
  RangeRequest::SortOrder order_;
  bool sorts_ = false;                 // key order is not enough
  uint64_t limit_ = UINT64_MAX;        // of the answer
  uint64_t fetch_limit_ = UINT64_MAX;  // of what is looked at beyond counting
  int64_t count_ = 0;
  uint64_t matched_ = 0;
  std::vector<KeyValue> kvs_;  // of what is to be sorted
  size_t unsorted_bytes_ = 0;  // of those added since the last truncation
};

}  // namespace

void ToKeyValue(const KeyVersion& version, KeyValue* out) {
  // Not set_key(data, size): that makes a string, to copy it into the one that is kept.
  out->mutable_key()->assign(version.key);
  out->set_create_revision(version.create_revision);
  out->set_mod_revision(version.mod.main);
  out->set_version(version.version);
  if (!version.value.empty()) out->mutable_value()->assign(version.value);
  out->set_lease(version.lease);
}

Status CheckReadRevision(int64_t revision, const ReadBounds& bounds) {
  if (revision > bounds.revision) return ErrFutureRevision();
  if (revision > 0 && revision < bounds.compact_revision) return ErrCompacted();
  return Status::Ok();
}

Status ReadRange(MvccView* view, const ReadBounds& bounds, const RangeRequest& request,
                 AnswerRoom* room, etcdserverpb::RangeResponse* response) {
  RAFTKV_RETURN_IF_ERROR(CheckReadRevision(request.revision(), bounds));
  const int64_t at = request.revision() > 0 ? request.revision() : bounds.revision;
  Collector collector(request, room, response);
  RAFTKV_RETURN_IF_ERROR(
      view->Scan(KeyRange::Of(request.key(), request.range_end()), at,
                 [&collector](const KeyVersion& version) { return collector.Add(version); }));
  if (room->given_up()) {
    *response = {};  // unlike Clear, frees what it held
    return Status::Ok();
  }
  collector.Finish();
  response->mutable_header()->set_revision(bounds.revision);
  return Status::Ok();
}

void AnswerOneKey(const KeyVersion* version, const ReadBounds& bounds, const RangeRequest& request,
                  etcdserverpb::RangeResponse* response) {
  AnswerRoom room = AnswerRoom::ForRead();
  Collector collector(request, &room, response);
  if (version != nullptr) collector.Add(*version);
  collector.Finish();
  response->mutable_header()->set_revision(bounds.revision);
}

}  // namespace raftkv::store
