// Are two sets equal that are too large to keep, and come in different orders?
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace raftkv::tools::dump {

// Sums of hashes, in buckets: equal sets have equal sums whatever their order, and where sums
// differ a second pass has to keep only the elements of those buckets. An element has an id, by
// which the two sides are matched, and details, which must be equal too. An accident that keeps a
// sum right has a chance of one in 2^64; nothing here is meant to stand up to forgery.
class SetComparison {
 public:
  void AddLeft(std::string_view id, std::string_view details) { Bucket(id) += Hash(id, details); }
  void AddRight(std::string_view id, std::string_view details) { Bucket(id) -= Hash(id, details); }

  size_t differing_buckets() const {
    size_t n = 0;
    for (const uint64_t sum : sums_) n += sum != 0 ? 1 : 0;
    return n;
  }
  bool Equal() const { return differing_buckets() == 0; }

  // Leaves the first `buckets_max` that differ, so that the second pass is bounded however much is
  // wrong.
  void Narrow(size_t buckets_max) {
    for (uint64_t& sum : sums_) {
      if (sum == 0) continue;
      if (buckets_max == 0) sum = 0;
      if (buckets_max > 0) --buckets_max;
    }
  }
  bool IsSuspect(std::string_view id) { return Bucket(id) != 0; }

 private:
  static constexpr size_t kBuckets = 1 << 16;

  uint64_t& Bucket(std::string_view id) {
    return sums_[std::hash<std::string_view>()(id) % kBuckets];
  }
  uint64_t Hash(std::string_view id, std::string_view details) {
    scratch_.assign(id);
    scratch_.push_back('\0');
    scratch_.append(details);
    return std::hash<std::string_view>()(scratch_);
  }

  std::vector<uint64_t> sums_ = std::vector<uint64_t>(kBuckets);
  std::string scratch_;
};

}  // namespace raftkv::tools::dump
