// etcdctl's text form of a transaction:
//
//   mod("k") > "0"          compares, one a line: mod|create|version|value|lease
//   value("k") = "old"
//                           a blank line
//   put k new               what to do if all hold: put, get and del with their usual options
//                           a blank line
//   get k                   what to do otherwise
//                           a blank line, or the end
//
// Words may be in single quotes (taken as they are) or in double quotes (with \n, \t, \\, \", \xNN,
// \NNN and \uNNNN).
#pragma once

#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "rpc.pb.h"
#include "tools/ctl/requests.h"

namespace raftkv::tools::ctl {

// kInvalidArgument, with the line number and what is wrong with it.
StatusOr<etcdserverpb::TxnRequest> ParseTxn(std::istream& in, WordEncoding encoding);

// The words of one line.
StatusOr<std::vector<std::string>> SplitWords(std::string_view line);

// One compare: target("key") op "value". Short forms of the targets, as in etcdctl: m, c, ver, val.
StatusOr<etcdserverpb::Compare> ParseCompare(std::string_view line, WordEncoding encoding);

// One operation: put, get or del and its arguments.
StatusOr<etcdserverpb::RequestOp> ParseOp(std::string_view line, WordEncoding encoding);

}  // namespace raftkv::tools::ctl
