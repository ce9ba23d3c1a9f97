#include "bench/generators.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace raftkv::bench {

std::string KeyOf(uint64_t n) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string key(8, '0');
  for (size_t i = 8; i-- > 0; n >>= 4) key[i] = kDigits[n & 15];
  return key;
}

Scatter::Scatter(uint64_t count) : count_(count), stride_(count * 618 / 1000 + 1) {
  while (std::gcd(stride_, count_) != 1) ++stride_;
}

Zipf::Zipf(uint64_t count, double theta)
    : count_(count),
      theta_(theta),
      zeta_count_(Zeta(count, theta)),
      alpha_(1 / (1 - theta)),
      eta_((1 - std::pow(2 / static_cast<double>(count), 1 - theta)) /
           (1 - Zeta(2, theta) / zeta_count_)) {}

double Zipf::Zeta(uint64_t count, double theta) {
  constexpr uint64_t kExactTerms = 10'000;
  const uint64_t exact = std::min(count, kExactTerms);
  double sum = 0;
  for (uint64_t i = 1; i <= exact; ++i) sum += std::pow(static_cast<double>(i), -theta);
  if (exact == count) return sum;
  const auto a = static_cast<double>(exact);
  const auto b = static_cast<double>(count);
  const double integral = (std::pow(b, 1 - theta) - std::pow(a, 1 - theta)) / (1 - theta);
  const double ends = (std::pow(b, -theta) - std::pow(a, -theta)) / 2;
  const double slopes = -theta * (std::pow(b, -theta - 1) - std::pow(a, -theta - 1)) / 12;
  return sum + integral + ends + slopes;
}

uint64_t Zipf::Next(Rng* rng) const {
  // 53 bits are what a double holds.
  const double u = static_cast<double>(rng->Next() >> 11) * 0x1p-53;
  const double uz = u * zeta_count_;
  if (uz < 1 || count_ == 1) return 0;
  if (uz < 1 + std::pow(0.5, theta_) || count_ == 2) return 1;
  const auto n = static_cast<double>(count_);
  const auto rank = static_cast<uint64_t>(n * std::pow(eta_ * u - eta_ + 1, alpha_));
  return std::min(rank, count_ - 1);
}

Values::Values(size_t value_bytes, bool random, uint64_t seed)
    : value_bytes_(value_bytes), random_(random), rng_(seed) {
  source_.assign(random ? std::max(kSourceBytes, value_bytes) : value_bytes, 'v');
  if (!random) return;
  for (size_t at = 0; at < source_.size(); at += sizeof(uint64_t)) {
    const uint64_t bytes = rng_.Next();
    std::memcpy(source_.data() + at, &bytes, std::min(sizeof(bytes), source_.size() - at));
  }
}

}  // namespace raftkv::bench
