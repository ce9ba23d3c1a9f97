#include "common/identity.h"

#include <openssl/evp.h>

#include "common/check.h"

namespace raftkv {
namespace {

// The first eight bytes of the SHA-256 of `text`, never 0 (0 means none).
uint64_t Digest64(const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  RAFTKV_CHECK(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) == 1,
               "SHA-256 is not available");
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = (value << 8) | digest[i];
  return value == 0 ? 1 : value;
}

}  // namespace

NodeId DeriveNodeId(const std::string& token, const std::string& name) {
  return NodeId(Digest64("raftkv node\n" + token + "\n" + name));
}

ClusterId DeriveClusterId(const std::string& token, const std::set<std::string>& names) {
  std::string text = "raftkv cluster\n" + token;
  for (const std::string& name : names) text += "\n" + name;
  return ClusterId(Digest64(text));
}

NodeId NewMemberId(ClusterId cluster, const std::vector<std::string>& peer_urls, uint64_t time_ns) {
  std::string text =
      "raftkv added member\n" + std::to_string(cluster.value()) + "\n" + std::to_string(time_ns);
  for (const std::string& url : peer_urls) text += "\n" + url;
  return NodeId(Digest64(text));
}

}  // namespace raftkv
