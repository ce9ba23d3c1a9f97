// A 64-bit unsigned integer that can't be mixed up with another of its kind.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>

namespace raftkv {

// Tag is an empty struct that makes each instantiation its own type. A value of 0 means "none"
// for every type built from it: terms, indexes and node ids all start at 1.
template <typename Tag>
class StrongInt {
 public:
  constexpr StrongInt() = default;
  constexpr explicit StrongInt(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }
  constexpr bool none() const { return value_ == 0; }

  constexpr auto operator<=>(const StrongInt&) const = default;

  constexpr StrongInt operator+(uint64_t n) const { return StrongInt(value_ + n); }
  constexpr StrongInt operator-(uint64_t n) const { return StrongInt(value_ - n); }
  constexpr uint64_t operator-(StrongInt other) const { return value_ - other.value_; }
  constexpr StrongInt& operator++() {
    ++value_;
    return *this;
  }
  constexpr StrongInt& operator+=(uint64_t n) {
    value_ += n;
    return *this;
  }

 private:
  uint64_t value_ = 0;
};

template <typename Tag>
std::ostream& operator<<(std::ostream& out, StrongInt<Tag> v) {
  return out << v.value();
}

}  // namespace raftkv

template <typename Tag>
struct std::hash<raftkv::StrongInt<Tag>> {
  size_t operator()(raftkv::StrongInt<Tag> v) const noexcept {
    return std::hash<uint64_t>()(v.value());
  }
};
