#include "common/membership_codec.h"

#include <utility>

#include "common/coding.h"

namespace raftkv {
namespace {

constexpr uint8_t kPromoteFlag = 1;

void AppendIds(std::string* out, const std::set<NodeId>& ids) {
  AppendVarint(out, ids.size());
  for (const NodeId id : ids) AppendVarint(out, id.value());
}

bool ConsumeIds(std::string_view* in, std::set<NodeId>* ids) {
  uint64_t count = 0;
  if (!ConsumeVarint(in, &count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t id = 0;
    if (!ConsumeVarint(in, &id) || id == 0) return false;
    if (!ids->empty() && *ids->rbegin() >= NodeId(id)) return false;
    ids->insert(NodeId(id));
  }
  return true;
}

bool ConsumeMember(std::string_view* in, Membership* membership) {
  uint64_t id = 0, urls = 0;
  uint8_t flags = 0;
  if (!ConsumeVarint(in, &id) || id == 0 || !ConsumeByte(in, &flags) || flags > kPromoteFlag ||
      !ConsumeVarint(in, &urls)) {
    return false;
  }
  auto& info = membership->info;
  if (!info.empty() && info.rbegin()->first >= NodeId(id)) return false;
  MemberInfo& member = info[NodeId(id)];
  member.promote = flags == kPromoteFlag;
  for (uint64_t i = 0; i < urls; ++i) {
    std::string_view url;
    if (!ConsumeLengthPrefixed(in, &url)) return false;
    member.peer_urls.emplace_back(url);
  }
  return true;
}

}  // namespace

std::string EncodeMembership(const Membership& membership) {
  std::string out(1, static_cast<char>(kMembershipVersion));
  AppendIds(&out, membership.voters);
  AppendIds(&out, membership.outgoing);
  AppendIds(&out, membership.learners);
  AppendIds(&out, membership.removed);
  AppendVarint(&out, membership.info.size());
  for (const auto& [id, member] : membership.info) {
    AppendVarint(&out, id.value());
    out.push_back(static_cast<char>(member.promote ? kPromoteFlag : 0));
    AppendVarint(&out, member.peer_urls.size());
    for (const std::string& url : member.peer_urls) AppendLengthPrefixed(&out, url);
  }
  return out;
}

StatusOr<Membership> DecodeMembership(std::string_view bytes) {
  const Status malformed(Code::kInvalidArgument, "a membership is malformed");
  uint8_t version = 0;
  if (!ConsumeByte(&bytes, &version) || version < kMembershipVersion) return malformed;
  if (version > kMembershipVersion) {
    return Status(Code::kFailedPrecondition,
                  "a membership has format version " + std::to_string(version) +
                      ", this program knows up to " + std::to_string(kMembershipVersion) +
                      "; run the version of raftkv that wrote it, or a newer one");
  }
  Membership membership;
  uint64_t members = 0;
  if (!ConsumeIds(&bytes, &membership.voters) || !ConsumeIds(&bytes, &membership.outgoing) ||
      !ConsumeIds(&bytes, &membership.learners) || !ConsumeIds(&bytes, &membership.removed) ||
      !ConsumeVarint(&bytes, &members)) {
    return malformed;
  }
  for (uint64_t i = 0; i < members; ++i) {
    if (!ConsumeMember(&bytes, &membership)) return malformed;
  }
  if (!bytes.empty()) return malformed;
  return membership;
}

std::optional<Membership> DecodeMembershipV1(std::string_view body) {
  Membership membership;
  if (!ConsumeIds(&body, &membership.voters) || !ConsumeIds(&body, &membership.outgoing) ||
      !ConsumeIds(&body, &membership.learners) || !body.empty()) {
    return std::nullopt;
  }
  return membership;
}

}  // namespace raftkv
