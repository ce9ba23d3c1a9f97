#include "store/identity_codec.h"

#include <optional>

#include "common/coding.h"
#include "common/sealed_record.h"

namespace raftkv::store {
namespace {

constexpr uint8_t kIdentityVersion = 1;
constexpr uint8_t kKvFamilyVersion = 1;

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

std::string EncodeKvFamily(uint64_t id) {
  std::string record(1, static_cast<char>(kKvFamilyVersion));
  AppendLittleEndian64(&record, id);
  Seal(kKvFamilyKey, &record);
  return record;
}

StatusOr<uint64_t> DecodeKvFamily(std::string_view record) {
  const std::optional<std::string_view> sealed = OpenSealed(kKvFamilyKey, record);
  if (!sealed) {
    return Status(Code::kCorruption,
                  "the record of where the applied state is (kv_family) is damaged: its checksum "
                  "does not match; restore the directory from a backup, or remove it and let the "
                  "node join anew");
  }
  std::string_view body = *sealed;
  uint8_t version = 0;
  uint64_t id = 0;
  if (!ConsumeByte(&body, &version) || version == 0) {
    return Status(Code::kCorruption, "the kv_family record has no version");
  }
  if (version > kKvFamilyVersion) {
    return Status(Code::kFailedPrecondition,
                  "the kv_family record has format version " + std::to_string(version) +
                      ", this program knows up to " + std::to_string(kKvFamilyVersion) +
                      "; run the version of raftkv that wrote it, or a newer one");
  }
  if (!ConsumeLittleEndian64(&body, &id) || !body.empty() || id == 0) {
    return Status(Code::kCorruption, "the kv_family record is malformed");
  }
  return id;
}

}  // namespace raftkv::store
