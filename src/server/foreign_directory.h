// Keeps a node out of a directory that is somebody else's: a home directory, another program's
// data.
#pragma once

#include <string>

#include "common/status.h"

namespace raftkv::server {

// Fails when `data_dir` holds something, but neither a node nor what a first start that was
// interrupted leaves. Changes nothing. Whose node it is, is not looked at.
Status CheckNotForeign(const std::string& data_dir);

}  // namespace raftkv::server
