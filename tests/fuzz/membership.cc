// A configuration, as in entries, snapshots and raft_meta (src/common/membership_codec.h).
#include "common/membership_codec.h"
#include "fuzz/fuzz.h"

namespace raftkv::fuzz {

FUZZ_TARGET(membership) {
  (void)DecodeMembershipV1(input);
  const StatusOr<Membership> membership = DecodeMembership(input);
  if (!membership.ok()) return;
  const StatusOr<Membership> again = DecodeMembership(EncodeMembership(*membership));
  Require(again.ok() && *again == *membership, "a membership changed when it was encoded");
}

}  // namespace raftkv::fuzz
