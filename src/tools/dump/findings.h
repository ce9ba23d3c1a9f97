// What `verify` and `diff` have to say: where, what, what it means, and what to do about it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "common/types.h"
#include "store/mvcc.h"
#include "tools/dump/report.h"

namespace raftkv::tools::dump {

// Where a finding is, as far as that is known; what is not stays empty.
struct Place {
  std::string file = {};  // relative to the data directory
  std::optional<uint64_t> offset = {};
  std::string family = {};  // column family
  std::string key = {};     // any bytes: a user's key, or a record's
  std::optional<Index> index = {};
  std::optional<store::Revision> revision = {};
};

struct Finding {
  std::string check = {};  // which part of the work: "wal", "log", "versions"...
  Place place = {};
  std::string what = {};   // what is there, and what should be
  std::string means = {};  // what follows from it
  std::string advice = {};
};

// Makes a JSON record of each finding and counts the problems. Of one check it lets the first
// `shown_max` problems (0: all) through, so that a cause with a million effects does not bury the
// others. Not thread-safe.
class Findings {
 public:
  using Sink = std::function<void(const Json&)>;

  Findings(uint64_t shown_max, Sink sink) : shown_max_(shown_max), sink_(std::move(sink)) {}
  Findings(const Findings&) = delete;
  Findings& operator=(const Findings&) = delete;

  // Something is wrong.
  void Problem(const Finding& finding);
  // Worth knowing, and nothing wrong: a torn tail, a leftover, what could not be checked.
  void Note(const Finding& finding);
  // A check came to its end: what was looked at, whether it had problems, and how many are not
  // shown.
  void Done(const std::string& check, const std::string& looked_at);

  uint64_t problems() const { return problems_; }

 private:
  const uint64_t shown_max_;
  const Sink sink_;
  uint64_t problems_ = 0;
  std::map<std::string, uint64_t> by_check_;
};

// Shows a record that a Findings made.
void ShowFinding(const Json& record, Report* report);

// "12", or "12.3" for the fourth change of a transaction.
std::string RevisionText(store::Revision revision);

// What to do with a directory that can't be trusted.
inline constexpr char kReplaceAdvice[] =
    "keep a copy of the directory; restore it from a backup, or remove it and let the node join "
    "anew; if no other member has the data, raftkv-dump salvage takes out what is intact";

}  // namespace raftkv::tools::dump
