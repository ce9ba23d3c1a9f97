// Which keys and values a load uses, each from a seed: the same run twice sends the same requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/rng.h"

namespace raftkv::bench {

// Eight bytes, as in the figures of docs/benchmarks: hexadecimal, so that keys sort as numbers.
std::string KeyOf(uint64_t n);

// The numbers below `count`, each once, scattered: neighbours in the order are far apart.
class Scatter {
 public:
  explicit Scatter(uint64_t count);
  uint64_t count() const { return count_; }
  // A bijection.
  uint64_t At(uint64_t n) const { return n % count_ * stride_ % count_; }

 private:
  uint64_t count_;
  uint64_t stride_;
};

// Each key once, scattered over the whole range: as keys come in real life, and harder on the
// store than keys in order, whose tables never overlap.
class LoadOrder {
 public:
  explicit LoadOrder(uint64_t keys) : scatter_(keys) {}
  bool done() const { return taken_ == scatter_.count(); }
  uint64_t Take() { return scatter_.At(taken_++); }

 private:
  Scatter scatter_;
  uint64_t taken_ = 0;
};

// Ranks below `count`, of which rank r has a probability in proportion to 1 / (r + 1)^theta. By the
// method of Gray et al. ("Quickly Generating Billion-Record Synthetic Databases", 1994), which YCSB
// uses too: no table, one number drawn; exact for the first two ranks and near enough behind them.
class Zipf {
 public:
  // 0 < theta < 1.
  Zipf(uint64_t count, double theta);
  uint64_t Next(Rng* rng) const;

  // The sum of 1 / i^theta for i in [1, count]: exact for the terms that matter, and by the
  // Euler-Maclaurin formula for those behind, which billions of keys would take minutes to add up.
  static double Zeta(uint64_t count, double theta);

 private:
  uint64_t count_;
  double theta_;
  double zeta_count_;
  double alpha_;
  double eta_;
};

enum class Distribution { kUniform, kSequential, kZipf };

// The keys of one run's requests, over all its clients.
class KeyChooser {
 public:
  KeyChooser(Distribution distribution, uint64_t keys, double theta, uint64_t seed)
      : distribution_(distribution), rng_(seed), scatter_(keys), zipf_(keys, theta) {}

  // The popular keys of a Zipf distribution are scattered: next to each other they would share
  // blocks and pages, which flatters every cache.
  uint64_t Next() {
    switch (distribution_) {
      case Distribution::kSequential:
        return sequence_++ % scatter_.count();
      case Distribution::kZipf:
        return scatter_.At(zipf_.Next(&rng_));
      case Distribution::kUniform:
        break;
    }
    return rng_.Below(scatter_.count());
  }

 private:
  const Distribution distribution_;
  Rng rng_;
  uint64_t sequence_ = 0;
  Scatter scatter_;
  Zipf zipf_;
};

// Values of one size: one letter repeated, or bytes that do not compress. The latter are pieces of
// one block of random bytes: making 64 KiB anew for each request would cost the generator more than
// sending them, and a block or page of a store hardly ever holds the same bytes twice.
class Values {
 public:
  Values(size_t value_bytes, bool random, uint64_t seed);
  // Valid until the object goes.
  std::string_view Next() {
    const std::string_view all = source_;
    return all.substr(random_ ? rng_.Below(source_.size() - value_bytes_ + 1) : 0, value_bytes_);
  }

 private:
  static constexpr size_t kSourceBytes = size_t{4} << 20;

  const size_t value_bytes_;
  const bool random_;
  Rng rng_;
  std::string source_;
};

}  // namespace raftkv::bench
