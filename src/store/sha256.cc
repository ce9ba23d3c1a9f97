#include "store/sha256.h"

#include <openssl/evp.h>

#include "common/check.h"

namespace raftkv::store {

// OpenSSL's calls fail only without memory, or without SHA-256 in the library.
class Sha256::Context {
 public:
  Context() : context_(EVP_MD_CTX_new()) {
    RAFTKV_CHECK(context_ != nullptr, "no memory for a digest");
  }
  ~Context() { EVP_MD_CTX_free(context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  EVP_MD_CTX* get() { return context_; }

 private:
  EVP_MD_CTX* context_;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  RAFTKV_CHECK(EVP_DigestInit_ex(context_->get(), EVP_sha256(), nullptr) == 1, "SHA-256: init");
}

Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::string_view bytes) {
  RAFTKV_CHECK(EVP_DigestUpdate(context_->get(), bytes.data(), bytes.size()) == 1,
               "SHA-256: update");
}

std::string Sha256::Digest() const {
  Context copy;
  std::string digest(kSha256Bytes, '\0');
  RAFTKV_CHECK(EVP_MD_CTX_copy_ex(copy.get(), context_->get()) == 1 &&
                   EVP_DigestFinal_ex(copy.get(), reinterpret_cast<unsigned char*>(digest.data()),
                                      nullptr) == 1,
               "SHA-256: final");
  return digest;
}

}  // namespace raftkv::store
