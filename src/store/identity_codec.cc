#include "store/identity_codec.h"

#include <optional>

#include "common/coding.h"
#include "common/sealed_record.h"

namespace raftkv::store {
namespace {

constexpr uint8_t kIdentityVersion = 1;

}  // namespace

std::string EncodeIdentity(const NodeIdentity& identity) {
  std::string record(1, static_cast<char>(kIdentityVersion));
  AppendLittleEndian32(&record, identity.format_version);
  AppendLittleEndian64(&record, identity.cluster.value());
  AppendLittleEndian64(&record, identity.node.value());
  AppendLengthPrefixed(&record, identity.node_name);
  Seal(kIdentityKey, &record);
  return record;
}

StatusOr<NodeIdentity> DecodeIdentity(std::string_view record) {
  const std::optional<std::string_view> sealed = OpenSealed(kIdentityKey, record);
  if (!sealed) {
    return Status(Code::kCorruption,
                  "the identity record is damaged: its checksum does not match; restore the "
                  "directory from a backup, or remove it and let the node join anew");
  }
  std::string_view body = *sealed;
  uint8_t version = 0;
  NodeIdentity identity;
  if (!ConsumeByte(&body, &version) || !ConsumeLittleEndian32(&body, &identity.format_version)) {
    return Status(Code::kCorruption, "the identity record has no version");
  }
  if (version > kIdentityVersion || identity.format_version > kFormatVersion) {
    return Status(Code::kFailedPrecondition,
                  "the directory has format version " + std::to_string(identity.format_version) +
                      ", this program knows up to " + std::to_string(kFormatVersion) +
                      "; run the version of raftkv that wrote it, or a newer one");
  }
  uint64_t cluster = 0, node = 0;
  std::string_view name;
  if (!ConsumeLittleEndian64(&body, &cluster) || !ConsumeLittleEndian64(&body, &node) ||
      !ConsumeLengthPrefixed(&body, &name) || !body.empty()) {
    return Status(Code::kCorruption, "the identity record is malformed");
  }
  identity.cluster = ClusterId(cluster);
  identity.node = NodeId(node);
  identity.node_name = std::string(name);
  return identity;
}

}  // namespace raftkv::store
