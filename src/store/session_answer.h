// Between what applying a command answers and what a session keeps of it.
#pragma once

#include "store/apply_result.h"
#include "store/mvcc.h"

namespace raftkv::store {

// Sequence and time are left for the session table. An answer over kSessionAnswerBytesMax is
// replaced by the revision it reported, and so is one that was given up while it was built: the
// record must not depend on which of the two happened.
SessionRecord ToSessionRecord(const ApplyResult& result);

// The first answer again, byte for byte; ErrSessionAnswerTooLarge if it was not kept. Aborts on a
// record that can't be decoded: its checksum was right, so this program can't have written it.
ApplyResult FromSessionRecord(const SessionRecord& record);

}  // namespace raftkv::store
