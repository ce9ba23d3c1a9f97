// From command-line words to requests. The same definitions serve the subcommands and the lines of
// a transaction, so that both take the same options.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "rpc.pb.h"

namespace CLI {
class App;
}

namespace raftkv::tools::ctl {

// The keys a command names: one, from one up to another, or by prefix.
struct KeyFlags {
  std::string key;
  std::optional<std::string> range_end;
  bool prefix = false;
  bool from_key = false;
};

struct PutFlags {
  std::string key;
  std::optional<std::string> value;  // without it: standard input, where there is one
  std::string lease = "0";           // hexadecimal, as etcdctl prints leases
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

struct GetFlags {
  KeyFlags keys;
  int64_t limit = 0;
  int64_t revision = 0;
  bool keys_only = false;
  bool count_only = false;
  bool print_value_only = false;
  std::string sort_by;
  std::string order;
  std::string consistency = "l";
};

struct DelFlags {
  KeyFlags keys;
  bool prev_kv = false;
};

void AddPutArguments(CLI::App* app, PutFlags* flags);
void AddGetArguments(CLI::App* app, GetFlags* flags);
void AddDelArguments(CLI::App* app, DelFlags* flags);

// How words on the command line become bytes.
enum class WordEncoding {
  kBytes,  // as they are
  kHex,    // two hex digits a byte
};

// kInvalidArgument when the flags contradict each other or a word can't be read. A put without a
// value takes `read_value`, or is an error where that is empty.
StatusOr<etcdserverpb::PutRequest> ToPut(const PutFlags& flags, WordEncoding encoding,
                                         const std::function<std::string()>& read_value);
StatusOr<etcdserverpb::RangeRequest> ToRange(const GetFlags& flags, WordEncoding encoding);
StatusOr<etcdserverpb::DeleteRangeRequest> ToDelete(const DelFlags& flags, WordEncoding encoding);

// One past the last key that starts with `prefix`: "\0", to the end, when there is none.
std::string PrefixEnd(std::string prefix);

}  // namespace raftkv::tools::ctl
