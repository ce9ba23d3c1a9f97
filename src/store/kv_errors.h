// etcd's error texts. Clients match on them, so they are part of the API.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/status.h"

namespace raftkv::store {

Status ErrEmptyKey();           // etcdserver: key is not provided
Status ErrKeyNotFound();        // etcdserver: key not found
Status ErrValueProvided();      // etcdserver: value is provided
Status ErrLeaseProvided();      // etcdserver: lease is provided
Status ErrTooManyOps();         // etcdserver: too many operations in txn request
Status ErrDuplicateKey();       // etcdserver: duplicate key given in txn request
Status ErrInvalidSortOption();  // etcdserver: invalid sort option
Status ErrInvalidClientApiVersion();
Status ErrCompacted();              // etcdserver: mvcc: required revision has been compacted
Status ErrFutureRevision();         // etcdserver: mvcc: required revision is a future revision
Status ErrLeaseNotFound();          // etcdserver: requested lease not found
Status ErrRequestTooLarge();        // etcdserver: request is too large
Status ErrTooManyRequests();        // etcdserver: too many requests
Status ErrNoLeader();               // etcdserver: no leader
Status ErrNotLeader();              // etcdserver: not leader
Status ErrTimeout();                // etcdserver: request timed out
Status ErrTimeoutLeaderFail();      // ..., possibly due to previous leader failure
Status ErrTimeoutConnectionLost();  // ..., possibly due to connection lost
Status ErrStopped();                // etcdserver: server stopped
Status ErrMemberNotFound();         // etcdserver: member not found
Status ErrBadLeaderTransferee();    // etcdserver: bad leader transferee

// A write that would delete more (delete_count.h). Ours, not etcd's.
Status ErrTooManyDeletes(uint64_t keys_max, uint64_t key_bytes_max);

// Sessions (ours, not etcd's).
Status ErrSessionSequenceStale();  // an older write than the session's last; its answer is gone
Status ErrSessionUnknown();        // sequence above 1 for a session that does not exist (expired)
Status ErrTooManySessions();
// A repeated write whose first answer was too large to keep: it was applied, once, and its answer
// said `revision`.
Status ErrSessionAnswerTooLarge(int64_t revision);

// Answers to writes (ours, not etcd's). The write was applied, and its answer would have said
// `revision`, but held more than kWriteAnswerBytesMax (answer_room.h).
Status ErrAnswerTooLarge(int64_t revision);
// A read's answer would take more memory than that. Ours, not etcd's.
Status ErrReadTooLarge(size_t bytes_max);
// Whether `status`, though an error, says that the write was applied.
bool SaysApplied(const Status& status);

}  // namespace raftkv::store
