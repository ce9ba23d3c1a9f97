#include "bench/histogram.h"

#include <cmath>

namespace raftkv::bench {

void Histogram::Clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = sum_ = max_ = 0;
  min_ = UINT32_MAX;
}

uint32_t Histogram::LowOf(size_t index) {
  if (index < 2 * kPerOctave) return static_cast<uint32_t>(index);
  const size_t shift = index / kPerOctave - 1;
  return static_cast<uint32_t>((index - shift * kPerOctave) << shift);
}

uint32_t Histogram::HighOf(size_t index) {
  if (index < 2 * kPerOctave) return static_cast<uint32_t>(index);
  const size_t shift = index / kPerOctave - 1;
  return LowOf(index) + static_cast<uint32_t>((size_t{1} << shift) - 1);
}

uint32_t Histogram::Percentile(double p) const {
  if (count_ == 0) return 0;
  const auto wanted =
      std::max(uint64_t{1}, static_cast<uint64_t>(std::ceil(p * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(HighOf(i), max_);
  }
  return max_;
}

std::vector<Histogram::Bucket> Histogram::buckets() const {
  std::vector<Bucket> result;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] > 0) result.push_back({LowOf(i), HighOf(i), counts_[i]});
  }
  return result;
}

}  // namespace raftkv::bench
