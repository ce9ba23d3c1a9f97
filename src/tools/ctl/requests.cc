#include "tools/ctl/requests.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include <CLI/CLI.hpp>

#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::RangeRequest;

Status Invalid(std::string message) { return Status(Code::kInvalidArgument, std::move(message)); }

StatusOr<std::string> Decode(const std::string& word, WordEncoding encoding) {
  if (encoding == WordEncoding::kBytes) return word;
  std::optional<std::string> bytes = FromHex(word);
  if (!bytes) return Invalid("'" + word + "' is not hexadecimal");
  return *std::move(bytes);
}

std::string Upper(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return word;
}

void AddKeyArguments(CLI::App* app, KeyFlags* flags, const std::string& verb) {
  app->add_option("key", flags->key, "The key, or where the range starts")->required();
  app->add_option("range_end", flags->range_end, "Where the range ends (not included)");
  app->add_flag("--prefix", flags->prefix, verb + " every key that starts with KEY");
  app->add_flag("--from-key", flags->from_key, verb + " every key from KEY on, in byte order");
}

struct KeyRange {
  std::string key;
  std::string range_end;
};

StatusOr<KeyRange> ToKeyRange(const KeyFlags& flags, WordEncoding encoding) {
  if (flags.prefix && flags.from_key) {
    return Invalid("--prefix and --from-key can't be used together");
  }
  if ((flags.prefix || flags.from_key) && flags.range_end) {
    return Invalid("a range end can't be used with --prefix or --from-key");
  }
  KeyRange out;
  RAFTKV_ASSIGN_OR_RETURN(out.key, Decode(flags.key, encoding));
  if (flags.range_end) {
    RAFTKV_ASSIGN_OR_RETURN(out.range_end, Decode(*flags.range_end, encoding));
    return out;
  }
  if (!flags.prefix && !flags.from_key) return out;
  // The empty key is not a key; the range of all keys starts at the smallest one there can be.
  const bool all = out.key.empty();
  if (all) out.key.assign(1, '\0');
  out.range_end = flags.from_key || all ? std::string(1, '\0') : PrefixEnd(out.key);
  return out;
}

Status SetSort(const GetFlags& flags, RangeRequest* request) {
  static const std::pair<const char*, RangeRequest::SortTarget> kTargets[] = {
      {"KEY", RangeRequest::KEY},       {"VERSION", RangeRequest::VERSION},
      {"CREATE", RangeRequest::CREATE}, {"MODIFY", RangeRequest::MOD},
      {"MOD", RangeRequest::MOD},       {"VALUE", RangeRequest::VALUE},
  };
  const std::string order = Upper(flags.order);
  if (order == "ASCEND") {
    request->set_sort_order(RangeRequest::ASCEND);
  } else if (order == "DESCEND") {
    request->set_sort_order(RangeRequest::DESCEND);
  } else if (!order.empty()) {
    return Invalid("unknown sort order '" + flags.order + "' (ASCEND or DESCEND)");
  }
  if (flags.sort_by.empty()) return Status::Ok();
  const auto* target = std::find_if(std::begin(kTargets), std::end(kTargets),
                                    [&](const auto& t) { return Upper(flags.sort_by) == t.first; });
  if (target == std::end(kTargets)) {
    return Invalid("unknown sort target '" + flags.sort_by +
                   "' (CREATE, KEY, MODIFY, VALUE or VERSION)");
  }
  request->set_sort_target(target->second);
  // Without an order the target would have no effect.
  if (order.empty()) request->set_sort_order(RangeRequest::ASCEND);
  return Status::Ok();
}

}  // namespace

void AddPutArguments(CLI::App* app, PutFlags* flags) {
  app->add_option("key", flags->key, "The key")->required();
  app->add_option("value", flags->value, "The value; without it, all of standard input");
  app->add_option("--lease", flags->lease, "Lease to attach, in hexadecimal");
  app->add_flag("--prev-kv", flags->prev_kv, "Also print the key and value before the change");
  app->add_flag("--ignore-value", flags->ignore_value, "Keep the value the key has");
  app->add_flag("--ignore-lease", flags->ignore_lease, "Keep the lease the key has");
}

void AddGetArguments(CLI::App* app, GetFlags* flags) {
  AddKeyArguments(app, &flags->keys, "Get");
  app->add_option("--limit", flags->limit, "At most so many keys (0: all)");
  app->add_option("--rev", flags->revision, "As of this revision (0: the newest)");
  app->add_flag("--keys-only", flags->keys_only, "Keys without values");
  app->add_flag("--count-only", flags->count_only, "Only how many keys there are");
  app->add_flag("--print-value-only", flags->print_value_only,
                "Values without keys (simple output)");
  app->add_option("--sort-by", flags->sort_by, "CREATE, KEY, MODIFY, VALUE or VERSION");
  app->add_option("--order", flags->order, "ASCEND or DESCEND");
  app->add_option("--consistency", flags->consistency,
                  "l: linearizable; s: serializable, from the node asked, maybe stale");
}

void AddDelArguments(CLI::App* app, DelFlags* flags) {
  AddKeyArguments(app, &flags->keys, "Delete");
  app->add_flag("--prev-kv", flags->prev_kv, "Also print what was deleted");
}

StatusOr<etcdserverpb::PutRequest> ToPut(const PutFlags& flags, WordEncoding encoding,
                                         const std::function<std::string()>& read_value) {
  etcdserverpb::PutRequest request;
  RAFTKV_ASSIGN_OR_RETURN(*request.mutable_key(), Decode(flags.key, encoding));
  if (flags.ignore_value) {
    if (flags.value) return Invalid("a value can't be given with --ignore-value");
  } else if (flags.value) {
    RAFTKV_ASSIGN_OR_RETURN(*request.mutable_value(), Decode(*flags.value, encoding));
  } else if (read_value) {
    *request.mutable_value() = read_value();
  } else {
    return Invalid("put needs a value");
  }
  int64_t lease = 0;
  const char* last = flags.lease.data() + flags.lease.size();
  if (const auto [end, error] = std::from_chars(flags.lease.data(), last, lease, 16);
      error != std::errc() || end != last) {
    return Invalid("bad lease id '" + flags.lease + "' (a hexadecimal number)");
  }
  request.set_lease(lease);
  request.set_prev_kv(flags.prev_kv);
  request.set_ignore_value(flags.ignore_value);
  request.set_ignore_lease(flags.ignore_lease);
  return request;
}

StatusOr<RangeRequest> ToRange(const GetFlags& flags, WordEncoding encoding) {
  RangeRequest request;
  RAFTKV_ASSIGN_OR_RETURN(KeyRange range, ToKeyRange(flags.keys, encoding));
  request.set_key(std::move(range.key));
  request.set_range_end(std::move(range.range_end));
  if (flags.consistency == "s") {
    request.set_serializable(true);
  } else if (flags.consistency != "l") {
    return Invalid("unknown consistency '" + flags.consistency + "' (l or s)");
  }
  if (flags.keys_only && flags.count_only) {
    return Invalid("--keys-only and --count-only can't be used together");
  }
  if (flags.print_value_only && (flags.keys_only || flags.count_only)) {
    return Invalid("--print-value-only can't be used with --keys-only or --count-only");
  }
  request.set_limit(flags.limit);
  request.set_revision(flags.revision);
  request.set_keys_only(flags.keys_only);
  request.set_count_only(flags.count_only);
  RAFTKV_RETURN_IF_ERROR(SetSort(flags, &request));
  return request;
}

StatusOr<etcdserverpb::DeleteRangeRequest> ToDelete(const DelFlags& flags, WordEncoding encoding) {
  etcdserverpb::DeleteRangeRequest request;
  RAFTKV_ASSIGN_OR_RETURN(KeyRange range, ToKeyRange(flags.keys, encoding));
  request.set_key(std::move(range.key));
  request.set_range_end(std::move(range.range_end));
  request.set_prev_kv(flags.prev_kv);
  return request;
}

std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty()) {
    if (static_cast<unsigned char>(prefix.back()) != 0xff) {
      ++prefix.back();
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string(1, '\0');
}

}  // namespace raftkv::tools::ctl
