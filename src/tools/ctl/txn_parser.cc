#include "tools/ctl/txn_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "tools/support/text.h"

namespace raftkv::tools::ctl {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

Status Invalid(std::string message) { return Status(Code::kInvalidArgument, std::move(message)); }

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r'; }

void SkipSpace(std::string_view* in) {
  while (!in->empty() && IsSpace(in->front())) in->remove_prefix(1);
}

void AppendUtf8(std::string* out, uint32_t point) {
  if (point < 0x80) {
    out->push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out->push_back(static_cast<char>(0xc0 | (point >> 6)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xe0 | (point >> 12)));
    out->push_back(static_cast<char>(0x80 | ((point >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (point & 0x3f)));
  }
}

// A number of exactly `digits` digits off the front of `in`.
std::optional<uint32_t> TakeNumber(std::string_view* in, size_t digits, int base) {
  if (in->size() < digits) return std::nullopt;
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(in->data(), in->data() + digits, value, base);
  if (error != std::errc() || end != in->data() + digits) return std::nullopt;
  in->remove_prefix(digits);
  return value;
}

// What stands behind a backslash, off the front of `in`.
Status TakeEscape(std::string_view* in, std::string* out) {
  static constexpr std::string_view kNames = "abfnrtv\\\"'";
  static constexpr std::string_view kBytes = "\a\b\f\n\r\t\v\\\"'";
  const Status bad = Invalid("unknown escape in double quotes");
  if (in->empty()) return bad;
  const char name = in->front();
  if (const size_t at = kNames.find(name); at != std::string_view::npos) {
    out->push_back(kBytes[at]);
    in->remove_prefix(1);
    return Status::Ok();
  }
  std::optional<uint32_t> number;
  if (name >= '0' && name <= '7') {
    number = TakeNumber(in, 3, 8);
  } else if (name == 'x' || name == 'u') {
    in->remove_prefix(1);
    number = TakeNumber(in, name == 'x' ? 2 : 4, 16);
  }
  if (!number || (name != 'u' && *number > 0xff)) return bad;
  if (name == 'u') {
    AppendUtf8(out, *number);
  } else {
    out->push_back(static_cast<char>(*number));
  }
  return Status::Ok();
}

// A word in double quotes, off the front of `in`, which starts with the quote.
Status TakeDoubleQuoted(std::string_view* in, std::string* out) {
  in->remove_prefix(1);
  while (!in->empty()) {
    const char c = in->front();
    in->remove_prefix(1);
    if (c == '"') return Status::Ok();
    if (c != '\\') {
      out->push_back(c);
      continue;
    }
    RAFTKV_RETURN_IF_ERROR(TakeEscape(in, out));
  }
  return Invalid("a double quote is not closed");
}

Status TakeSingleQuoted(std::string_view* in, std::string* out) {
  in->remove_prefix(1);
  const size_t end = in->find('\'');
  if (end == std::string_view::npos) return Invalid("a single quote is not closed");
  out->append(in->substr(0, end));
  in->remove_prefix(end + 1);
  return Status::Ok();
}

// A quoted word, or an unquoted one up to a space or one of `stops`.
StatusOr<std::string> TakeWord(std::string_view* in, std::string_view stops) {
  std::string word;
  if (!in->empty() && in->front() == '"') {
    RAFTKV_RETURN_IF_ERROR(TakeDoubleQuoted(in, &word));
    return word;
  }
  if (!in->empty() && in->front() == '\'') {
    RAFTKV_RETURN_IF_ERROR(TakeSingleQuoted(in, &word));
    return word;
  }
  size_t size = 0;
  while (size < in->size() && !IsSpace((*in)[size]) &&
         stops.find((*in)[size]) == std::string_view::npos) {
    ++size;
  }
  word.assign(in->substr(0, size));
  in->remove_prefix(size);
  return word;
}

StatusOr<std::string> DecodeWord(std::string word, WordEncoding encoding) {
  if (encoding == WordEncoding::kBytes) return word;
  std::optional<std::string> bytes = FromHex(word);
  if (!bytes) return Invalid("'" + word + "' is not hexadecimal");
  return *std::move(bytes);
}

StatusOr<int64_t> ParseNumber(const std::string& word, int base) {
  int64_t value = 0;
  const char* last = word.data() + word.size();
  const auto [end, error] = std::from_chars(word.data(), last, value, base);
  if (error != std::errc() || end != last || word.empty()) {
    return Invalid("'" + word + "' is not a number");
  }
  return value;
}

Status SetTarget(std::string_view target, std::string word, WordEncoding encoding,
                 Compare* compare) {
  if (target == "val" || target == "value") {
    compare->set_target(Compare::VALUE);
    RAFTKV_ASSIGN_OR_RETURN(*compare->mutable_value(), DecodeWord(std::move(word), encoding));
    return Status::Ok();
  }
  if (target == "lease") {
    RAFTKV_ASSIGN_OR_RETURN(const int64_t lease, ParseNumber(word, 16));
    compare->set_target(Compare::LEASE);
    compare->set_lease(lease);
    return Status::Ok();
  }
  RAFTKV_ASSIGN_OR_RETURN(const int64_t number, ParseNumber(word, 10));
  if (target == "ver" || target == "version") {
    compare->set_target(Compare::VERSION);
    compare->set_version(number);
  } else if (target == "c" || target == "create") {
    compare->set_target(Compare::CREATE);
    compare->set_create_revision(number);
  } else if (target == "m" || target == "mod") {
    compare->set_target(Compare::MOD);
    compare->set_mod_revision(number);
  } else {
    return Invalid("unknown compare '" + std::string(target) +
                   "' (mod, create, version, value or lease)");
  }
  return Status::Ok();
}

// Parses the arguments of one operation. CLI11 reports errors by throwing; they end here.
template <typename Flags>
Status ParseArguments(const std::vector<std::string>& words, void (*add)(CLI::App*, Flags*),
                      Flags* flags) {
  CLI::App app;
  app.set_help_flag();
  add(&app, flags);
  try {
    // CLI11 takes the words from the back.
    app.parse(std::vector<std::string>(words.rbegin(), words.rend() - 1));
  } catch (const CLI::ParseError& error) {
    return Invalid(words.front() + ": " + error.what());
  }
  return Status::Ok();
}

}  // namespace

StatusOr<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  for (SkipSpace(&line); !line.empty(); SkipSpace(&line)) {
    RAFTKV_ASSIGN_OR_RETURN(std::string word, TakeWord(&line, ""));
    words.push_back(std::move(word));
  }
  return words;
}

StatusOr<Compare> ParseCompare(std::string_view line, WordEncoding encoding) {
  static constexpr std::pair<std::string_view, Compare::CompareResult> kOperators[] = {
      {"=", Compare::EQUAL},
      {"!=", Compare::NOT_EQUAL},
      {"<", Compare::LESS},
      {">", Compare::GREATER},
  };
  Compare compare;
  SkipSpace(&line);
  const size_t open = line.find('(');
  if (open == std::string_view::npos) {
    return Invalid("a compare looks like mod(\"key\") > \"0\"");
  }
  std::string_view target = line.substr(0, open);
  while (!target.empty() && IsSpace(target.back())) target.remove_suffix(1);
  line.remove_prefix(open + 1);
  SkipSpace(&line);
  RAFTKV_ASSIGN_OR_RETURN(std::string key, TakeWord(&line, ")"));
  RAFTKV_ASSIGN_OR_RETURN(*compare.mutable_key(), DecodeWord(std::move(key), encoding));
  SkipSpace(&line);
  if (line.empty() || line.front() != ')') return Invalid("no ')' behind the key of a compare");
  line.remove_prefix(1);
  SkipSpace(&line);
  const size_t symbol_size = std::min(line.find_first_not_of("=!<>"), line.size());
  const auto* found = std::find_if(
      std::begin(kOperators), std::end(kOperators),
      [&](const auto& candidate) { return candidate.first == line.substr(0, symbol_size); });
  if (found == std::end(kOperators)) {
    return Invalid("a compare needs one of = != < > behind the key");
  }
  compare.set_result(found->second);
  line.remove_prefix(symbol_size);
  SkipSpace(&line);
  if (line.empty()) return Invalid("a compare needs a value");
  RAFTKV_ASSIGN_OR_RETURN(std::string word, TakeWord(&line, ""));
  SkipSpace(&line);
  if (!line.empty()) return Invalid("'" + std::string(line) + "' behind a compare");
  RAFTKV_RETURN_IF_ERROR(SetTarget(target, std::move(word), encoding, &compare));
  return compare;
}

StatusOr<RequestOp> ParseOp(std::string_view line, WordEncoding encoding) {
  RequestOp op;
  RAFTKV_ASSIGN_OR_RETURN(const std::vector<std::string> words, SplitWords(line));
  if (words.empty()) return Invalid("an operation is missing");
  if (words.front() == "put") {
    PutFlags flags;
    RAFTKV_RETURN_IF_ERROR(ParseArguments(words, AddPutArguments, &flags));
    RAFTKV_ASSIGN_OR_RETURN(*op.mutable_request_put(), ToPut(flags, encoding, nullptr));
  } else if (words.front() == "get") {
    GetFlags flags;
    RAFTKV_RETURN_IF_ERROR(ParseArguments(words, AddGetArguments, &flags));
    RAFTKV_ASSIGN_OR_RETURN(*op.mutable_request_range(), ToRange(flags, encoding));
  } else if (words.front() == "del") {
    DelFlags flags;
    RAFTKV_RETURN_IF_ERROR(ParseArguments(words, AddDelArguments, &flags));
    RAFTKV_ASSIGN_OR_RETURN(*op.mutable_request_delete_range(), ToDelete(flags, encoding));
  } else {
    return Invalid("unknown operation '" + words.front() + "' (put, get or del)");
  }
  return op;
}

StatusOr<TxnRequest> ParseTxn(std::istream& in, WordEncoding encoding) {
  TxnRequest request;
  int section = 0;
  int number = 0;
  const auto failed = [&](const Status& status) {
    return Invalid("line " + std::to_string(number) + ": " + status.message());
  };
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (std::all_of(line.begin(), line.end(), IsSpace)) {
      ++section;
    } else if (section > 2) {
      return failed(Invalid("something follows the third part of the transaction"));
    } else if (section == 0) {
      StatusOr<Compare> compare = ParseCompare(line, encoding);
      if (!compare.ok()) return failed(compare.status());
      *request.add_compare() = *std::move(compare);
    } else {
      StatusOr<RequestOp> op = ParseOp(line, encoding);
      if (!op.ok()) return failed(op.status());
      *(section == 1 ? request.add_success() : request.add_failure()) = *std::move(op);
    }
  }
  return request;
}

}  // namespace raftkv::tools::ctl
