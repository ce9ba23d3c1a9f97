// What etcd's revisions add: they order all writes of a store, so they also catch what values alone
// would allow, and across keys.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "check/history.h"

namespace raftkv::check {

struct RevisionProblem {
  std::string why;
  std::vector<size_t> ops;  // positions in the history
};

// The first of each kind of problem, in time linear but for sorting; empty when all is well, or no
// operation has a revision. Checked, as far as answers have revisions:
// - an answer's revision is not below that of any answer that came before the request was sent; a
//   write's is above it;
// - no two writes have one revision;
// - what was read at a mod revision is what the write of that revision wrote, and no read is from
//   a later revision than its answer's;
// - a read at a revision does not miss an acknowledged write of its key up to that revision.
std::vector<RevisionProblem> CheckRevisions(const History& history);

}  // namespace raftkv::check
