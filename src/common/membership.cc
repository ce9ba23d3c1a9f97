#include "common/membership.h"

namespace raftkv {
namespace {

void AppendIds(std::string* out, const char* name, const std::set<NodeId>& ids) {
  *out += name;
  *out += "=(";
  const char* separator = "";
  for (const NodeId id : ids) {
    *out += separator + std::to_string(id.value());
    separator = " ";
  }
  *out += ')';
}

}  // namespace

std::set<NodeId> Membership::All() const {
  std::set<NodeId> all = voters;
  all.insert(outgoing.begin(), outgoing.end());
  all.insert(learners.begin(), learners.end());
  return all;
}

std::string ToString(const Membership& membership) {
  std::string out;
  AppendIds(&out, "voters", membership.voters);
  if (!membership.outgoing.empty()) AppendIds(&out, " outgoing", membership.outgoing);
  if (!membership.learners.empty()) AppendIds(&out, " learners", membership.learners);
  return out;
}

}  // namespace raftkv
