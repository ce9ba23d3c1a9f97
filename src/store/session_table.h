// Client sessions: a write that is sent again is applied once and gets its first answer (Raft
// thesis, section 6.3). On disk only; what is in memory lasts for one batch.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include "common/status.h"
#include "store/command.h"
#include "store/engine.h"
#include "store/mvcc.h"
#include "store/session_limits.h"

namespace raftkv::store {

// A larger answer is not kept; a repetition then gets ErrSessionAnswerTooLarge. Bounds what
// sessions take on disk to this times their number.
inline constexpr size_t kSessionAnswerBytesMax = 64 << 10;

// Expired sessions removed by one command at most: more than it can create, so that the table
// shrinks, and few, so that no command takes long.
inline constexpr int kSessionsExpiredMax = 8;

// Owned by the apply thread. Everything it decides follows from the commands alone: the clock is
// the highest time a leader has stamped, never this node's.
class SessionTable {
 public:
  SessionTable(rocksdb::DB* db, FamilyHandle kv) : db_(db), kv_(std::move(kv)) {}

  // What to do with a command.
  struct Verdict {
    Status refused;                       // not OK: an answer in itself; nothing is applied
    std::optional<SessionRecord> answer;  // the first answer of this sequence number
  };

  // Expires sessions, then looks up `session` at the state machine's clock `now_ms`. `limits` may
  // differ from one command to the next: where they were lowered, the sessions there are stay until
  // they expire, kSessionsExpiredMax with each command, and until enough have gone nobody new is
  // let in. `sessions` is their number and is kept up to date. Aborts on a RocksDB error or a
  // damaged record.
  Verdict Admit(const SessionRef& session, const SessionLimits& limits, uint64_t now_ms,
                uint64_t* sessions);

  // Stores the answer to a command that Admit let through. Its sequence and time are filled in.
  void Store(const SessionRef& session, uint64_t now_ms, SessionRecord answer, uint64_t* sessions);

  // Adds the batch's changes to `batch`, and forgets them.
  void Flush(rocksdb::WriteBatch* batch);

 private:
  std::optional<SessionRecord> Find(const std::string& client);
  void Touch(const std::string& client, SessionRecord* record, uint64_t now_ms);
  void Expire(uint64_t ttl_ms, uint64_t now_ms, uint64_t* sessions);
  // The session time key that sorts first, with this batch's changes applied; empty if none.
  std::string OldestTimeKey();

  rocksdb::DB* db_;
  FamilyHandle kv_;

  // Changes of the batch under way: sessions (none: removed), and time keys (false: removed).
  std::map<std::string, std::optional<SessionRecord>> changed_;
  std::map<std::string, bool> changed_times_;
  // No time key sorts before this one, which is of second `floor_ms_`. Only saves work: without it
  // each command would search past the index entries that earlier ones deleted. It never has to go
  // back: what is added is of the clock's second or later, and the clock doesn't go back.
  std::string floor_ = SessionTimeKey(0, "");
  uint64_t floor_ms_ = 0;
};

}  // namespace raftkv::store
