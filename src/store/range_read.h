// Carries out a RangeRequest on a view: revisions, filters, sorting, limits, as etcd does.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "rpc.pb.h"
#include "store/answer_room.h"
#include "store/mvcc_view.h"

namespace raftkv::store {

// What a view stands for.
struct ReadBounds {
  int64_t revision = 1;          // the newest that may be read, and what headers report
  int64_t compact_revision = 0;  // the oldest; 0: never compacted
};

// ErrFutureRevision or ErrCompacted if a read at `revision` (0 or less: the newest) is impossible.
Status CheckReadRevision(int64_t revision, const ReadBounds& bounds);

// Fills in `response`, which must be empty, and its header's revision. Where `room` has not enough
// for it, `response` is empty at the end too.
Status ReadRange(MvccView* view, const ReadBounds& bounds,
                 const etcdserverpb::RangeRequest& request, AnswerRoom* room,
                 etcdserverpb::RangeResponse* response);

// The same for one key whose newest version is known; null: there is none, or a tombstone.
void AnswerOneKey(const KeyVersion* version, const ReadBounds& bounds,
                  const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* response);

// Writes `version` to `out`.
void ToKeyValue(const KeyVersion& version, mvccpb::KeyValue* out);

}  // namespace raftkv::store
