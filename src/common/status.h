// How expected failures travel: a code that says what the caller may do, and a message for people.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "common/check.h"

namespace raftkv {

// The three fates of a write that did not succeed are kept apart on purpose:
//   kNotLeader       nothing was proposed; try another node.
//   kDropped         proposed, and another entry was committed in its place: definitely not
//   applied. kOutcomeUnknown  proposed, and its fate was not learned in time: it may still be
//   applied.
enum class Code {
  kOk = 0,
  kInvalidArgument,
  kNotFound,
  kAlreadyExists,
  kFailedPrecondition,
  kOutOfRange,
  kResourceExhausted,
  kUnavailable,
  kDeadlineExceeded,
  kCancelled,
  kUnimplemented,
  kCorruption,
  kIoError,
  kInternal,
  kNotLeader,
  kDropped,
  kOutcomeUnknown,
};

// The code's name in lower snake case, for logs and JSON. Never fails.
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // "code_name: message", or "ok".
  std::string ToString() const;

  bool operator==(const Status&) const = default;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

inline std::ostream& operator<<(std::ostream& out, const Status& s) { return out << s.ToString(); }

// A T, or the Status that says why there is none. Reading the value of a failed one is a bug and
// aborts.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) {  // NOLINT: implicit by design
    RAFTKV_CHECK(!status_.ok(), "StatusOr built from an OK status without a value");
  }
  StatusOr(T value) : value_(std::move(value)) {}  // NOLINT: implicit by design

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }

  T& value() & {
    RAFTKV_CHECK(ok(), status_.ToString());
    return *value_;
  }
  const T& value() const& {
    RAFTKV_CHECK(ok(), status_.ToString());
    return *value_;
  }
  T&& value() && {
    RAFTKV_CHECK(ok(), status_.ToString());
    return *std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace raftkv

#define RAFTKV_CONCAT_INNER(a, b) a##b
#define RAFTKV_CONCAT(a, b) RAFTKV_CONCAT_INNER(a, b)

// Returns from the enclosing function with the status of `expr` unless it is OK.
#define RAFTKV_RETURN_IF_ERROR(expr)                       \
  do {                                                     \
    if (::raftkv::Status s_ = (expr); !s_.ok()) return s_; \
  } while (0)

// Declares `lhs` with the value of `expr`, or returns its status from the enclosing function.
#define RAFTKV_ASSIGN_OR_RETURN(lhs, expr)               \
  auto RAFTKV_CONCAT(status_or_, __LINE__) = (expr);     \
  if (!RAFTKV_CONCAT(status_or_, __LINE__).ok())         \
    return RAFTKV_CONCAT(status_or_, __LINE__).status(); \
  lhs = *std::move(RAFTKV_CONCAT(status_or_, __LINE__))
