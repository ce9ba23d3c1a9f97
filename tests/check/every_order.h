// The definition of linearizability, tried out: the reference for the checker.
#pragma once

#include "check/history.h"

namespace raftkv::check {

// Whether any order of the operations explains their answers, by trying every order, with no
// memory and no tricks. Only for a handful of operations.
bool AnyOrderExplains(const History& history);

}  // namespace raftkv::check
