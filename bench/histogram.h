// Latencies in buckets, so that a run of any length takes the same memory and each answer costs a
// shift and an addition. (Debian 12 has no HdrHistogram for C++.)
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace raftkv::bench {

// Log-linear: values below 256 have a bucket each; above, each power of two is cut into 128 equal
// buckets, so a bucket is never wider than 1/128 of what is in it.
class Histogram {
 public:
  struct Bucket {
    uint32_t low;   // the least value that belongs here
    uint32_t high;  // the largest
    uint64_t count;
  };

  Histogram() : counts_(IndexOf(UINT32_MAX) + 1) {}

  void Add(uint32_t value) {
    ++counts_[IndexOf(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
    min_ = std::min(min_, value);
  }
  void Clear();

  uint64_t count() const { return count_; }
  uint32_t min() const { return count_ == 0 ? 0 : min_; }
  uint32_t max() const { return max_; }
  double mean() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }

  // The least value that at least the share `p` of all values does not exceed; too large by less
  // than 1%, never too small. 0 of nothing.
  uint32_t Percentile(double p) const;

  // Those that are not empty, in order.
  std::vector<Bucket> buckets() const;

 private:
  static constexpr unsigned kLinearBits = 8;
  static constexpr size_t kPerOctave = size_t{1} << (kLinearBits - 1);

  static size_t IndexOf(uint32_t value) {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    const unsigned shift = width > kLinearBits ? width - kLinearBits : 0;
    return shift * kPerOctave + (value >> shift);
  }
  static uint32_t LowOf(size_t index);
  static uint32_t HighOf(size_t index);

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint32_t max_ = 0;
  uint32_t min_ = UINT32_MAX;
};

}  // namespace raftkv::bench
