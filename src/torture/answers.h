// What an answer must look like, whatever the keys hold. The checker sees keys and values only.
#pragma once

#include <string>

#include "rpc.pb.h"

namespace raftkv::torture {

// Each: what is wrong with the answer; empty if nothing is.
std::string WrongWith(const etcdserverpb::RangeRequest& request,
                      const etcdserverpb::RangeResponse& response);
std::string WrongWith(const etcdserverpb::DeleteRangeRequest& request,
                      const etcdserverpb::DeleteRangeResponse& response);
std::string WrongWith(const etcdserverpb::TxnRequest& request,
                      const etcdserverpb::TxnResponse& response);

}  // namespace raftkv::torture
