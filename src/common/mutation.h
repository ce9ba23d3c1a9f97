// Known bugs, to be put back on purpose: a test that can't find them proves nothing
// (docs/durability.md).
//
// In every normal build Mutated() is false at compile time, and nothing of this is in the program.
// Only a build with RAFTKV_MUTATIONS has a switch, which raftkv-sim's --mutation sets.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace raftkv {

enum class Mutation : uint8_t {
  kNone,
  kVoteBeforeSync,       // a vote leaves before it is on disk
  kForgetVote,           // a step down within a term forgets the vote
  kAckBeforeSync,        // an append is acknowledged before it is on disk
  kCountSelfBeforeSync,  // a leader counts its own copy before it is on disk
  kCommitOldTerm,        // an entry of an earlier term is committed by counting
  kCommitUnmatched,      // an empty append commits what it says nothing about
  kTruncateDelayed,      // an append that comes late cuts off what follows it
  kStaleTail,            // what was overwritten stays on disk behind the new end
  kStaleCompletion,      // a write's completion vouches for what took its entries' place
  kAppliedApart,         // the applied index is not in the batch with the data
  kSessionsLocal,        // sessions are not part of the replicated state
  kReadWithoutRound,     // a read is served without asking a quorum
  kReadBeforeCommit,     // a read is served before the leader committed in its term
  kReadBeforeApply,      // a read is served before the state machine got there
  kCutBeyondDurable,     // the log is cut beyond the durable applied index
  kInstallInTwo,         // a snapshot's place and the log's new start are two writes
  kConfigNotUndone,      // a configuration that was overwritten stays in force
  kLearnerCounts,        // a learner's copy counts for the quorum
  kNoDirectorySync,      // names that change are not made durable
  kSyncRetried,          // a sync that failed is tried again
  kTornTailKept,         // a torn WAL file is left lying when the node starts
  kLostVotes,            // a node that lost what it acknowledged votes as if it had not
  kBootstrapAgain,       // a database without CURRENT is taken for none and made anew
  kCount,
};

inline constexpr std::array<std::string_view, static_cast<size_t>(Mutation::kCount)> kMutationNames{
    "none",
    "vote-before-sync",
    "forget-vote",
    "ack-before-sync",
    "count-self-before-sync",
    "commit-old-term",
    "commit-unmatched",
    "truncate-delayed",
    "stale-tail",
    "stale-completion",
    "applied-apart",
    "sessions-local",
    "read-without-round",
    "read-before-commit",
    "read-before-apply",
    "cut-beyond-durable",
    "install-in-two",
    "config-not-undone",
    "learner-counts",
    "no-directory-sync",
    "sync-retried",
    "torn-tail-kept",
    "lost-votes",
    "bootstrap-again"};

#ifdef RAFTKV_MUTATIONS
inline Mutation active_mutation = Mutation::kNone;
inline bool Mutated(Mutation mutation) { return active_mutation == mutation; }
#else
constexpr bool Mutated(Mutation) { return false; }
#endif

}  // namespace raftkv
