// How much an answer may hold of what was read for it: ranges and previous values.
//
// Every member applies every write, and again after a crash. An answer that takes more memory than
// there is would end them all, and each start after that: so it is built only where somebody wants
// it, and up to a bound. The write itself is applied in any case.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rpc.pb.h"
#include "store/overlay.h"

namespace raftkv::store {

// Of the keys and values that one write gathers for its answer, and kAnswerKeyBytes for each.
// Sorting gathers more than is answered, and that counts as long as it is held.
//
// Where a session keeps the answer, this is part of the replicated state: what was given up is kept
// as too large, whatever sorting would have left of it. Hence the same bound on every member, with
// a waiter or without, and no option. Members whose programs differ in it, or in how they count,
// would hold different answers.
inline constexpr size_t kWriteAnswerBytesMax = 64 << 20;

// Of a read, counted in the same way. One member builds that, once; but a client that gets no
// answer asks the next. An answer is in memory twice while it is sent, and gRPC ends at 2 GiB.
inline constexpr size_t kReadAnswerBytesMax = 512 << 20;

// Belongs to one request.
class AnswerRoom {
 public:
  static AnswerRoom ForRead(size_t max = kReadAnswerBytesMax) { return {max, true}; }
  static AnswerRoom ForWrite(bool wanted) { return {kWriteAnswerBytesMax, wanted}; }

  // Whether what is read goes into the answer: it is wanted, and not given up. Once false it stays
  // so, and nothing more need be read.
  bool open() const { return open_; }
  // Whether there would be an answer if it were not too large.
  bool given_up() const { return given_up_; }
  size_t used() const { return used_; }

  // Before something is gathered. False: there is no room for it, and the answer is given up.
  bool Take(size_t bytes) {
    if (bytes > max_ - used_) {
      open_ = false;
      given_up_ = true;
      return false;
    }
    used_ += bytes;
    return true;
  }
  // What was taken and is not held any more.
  void Return(size_t bytes) { used_ -= bytes; }

 private:
  AnswerRoom(size_t max, bool open) : max_(max), open_(open) {}

  size_t max_;
  size_t used_ = 0;
  bool open_;
  bool given_up_ = false;
};

// What a key takes in an answer beside its bytes: the message, two strings, what the allocator
// adds.
inline constexpr size_t kAnswerKeyBytes = 192;
inline size_t AnswerBytes(const KeyVersion& version) {
  return kAnswerKeyBytes + version.key.size() + version.value.size();
}
inline size_t AnswerBytes(const mvccpb::KeyValue& kv) {
  return kAnswerKeyBytes + kv.key().size() + kv.value().size();
}

}  // namespace raftkv::store
