// SHA-256, piece by piece.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace raftkv::store {

inline constexpr size_t kSha256Bytes = 32;

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::string_view bytes);
  // The digest of everything so far, raw. More may follow.
  std::string Digest() const;

 private:
  class Context;
  std::unique_ptr<Context> context_;
};

}  // namespace raftkv::store
