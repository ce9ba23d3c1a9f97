// How many keys a write may delete at once. Every member holds all that a write deletes in memory
// until its batch is written, so a range without end could end them all.
//
// Asked by the member that a client talks to, of its own state, before anything is proposed: what
// is in the log is applied, however many keys it deletes by then.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "rpc.pb.h"
#include "store/mvcc_view.h"

namespace raftkv::store {

// A deleted key takes 350 bytes and five times its own length (kVersionBytes, overlay.h): so much
// is 850 MB.
struct DeleteLimits {
  uint64_t keys_max = 1'000'000;
  uint64_t key_bytes_max = 100'000'000;
};

// ErrTooManyDeletes if `request` would delete more at revision `at`. Looks at every key until it is
// known; values are not kept. Of a transaction at both branches: which is taken is decided later.
// Nor may all branches together come to more than four times as many keys.
// Deletes of single keys don't count, and ranges that overlap count twice.
Status CheckDeletes(MvccView* view, int64_t at, const etcdserverpb::DeleteRangeRequest& request,
                    const DeleteLimits& limits = {});
Status CheckDeletes(MvccView* view, int64_t at, const etcdserverpb::TxnRequest& request,
                    const DeleteLimits& limits = {});

// Whether there is anything to count.
bool DeletesRanges(const etcdserverpb::DeleteRangeRequest& request);
bool DeletesRanges(const etcdserverpb::TxnRequest& request);

}  // namespace raftkv::store
