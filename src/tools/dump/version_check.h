// The rules that the versions of the keys and the revision index keep, and that a damaged or
// wrongly written state breaks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "store/applied_record.h"
#include "store/mvcc.h"
#include "tools/dump/findings.h"
#include "tools/dump/set_comparison.h"

namespace raftkv::tools::dump {

// Is given every record of `d` and then of `r`, each in key order, and keeps none of them. If the
// two disagree it asks for all of them once more (NeedsSecondPass), to say where.
class VersionCheck {
 public:
  VersionCheck(const store::AppliedRecord& applied, std::string family, Findings* findings)
      : applied_(applied), family_(std::move(family)), findings_(findings) {}

  void AddData(std::string_view key, std::string_view record);
  void AddRevision(std::string_view key, std::string_view record);
  // Some could not be read: what is missing is then no contradiction.
  void Incomplete() { complete_ = false; }
  // All were given.
  void EndPass();

  bool NeedsSecondPass() const { return complete_ && second_pass_; }
  // All were given again.
  void EndSecondPass();

  uint64_t versions() const { return versions_; }
  uint64_t live_keys() const { return live_keys_; }

 private:
  struct Version {
    store::Revision revision;
    bool damaged = false;
    store::DataRecord record;  // without its value
    std::string key;           // the record's
  };
  // What one side says of a version.
  struct Claim {
    bool damaged = false;
    bool tombstone = false;
    store::Revision previous = {};  // none also where a compaction may have removed it
  };
  struct Claims {
    std::optional<Claim> data;
    std::optional<Claim> index;
  };

  void Problem(const std::string& check, std::string_view user_key, store::Revision revision,
               std::string what, std::string means);
  void CheckAlone(const Version& version);
  void CheckPair(const Version& newer, const Version& older);
  void CheckOldest(const Version& version);
  void FinishVersion(const Version* older);
  void CheckOrder(store::Revision revision);
  void CheckGap(int64_t from, int64_t to);
  void Report(const std::string& data_key, const Claims& claims);
  bool MayBeCompacted(int64_t main) const { return main <= applied_.compact_revision; }

  const store::AppliedRecord applied_;
  const std::string family_;
  Findings* const findings_;
  bool complete_ = true;
  bool second_pass_ = false;

  uint64_t versions_ = 0;
  uint64_t live_keys_ = 0;
  std::string user_key_;          // of newer_
  std::optional<Version> newer_;  // the last version given, if the next may be of the same key
  std::optional<store::Revision> last_;  // the last index entry given
  std::set<store::Revision> damaged_entries_;
  SetComparison comparison_;
  size_t differing_ = 0;
  std::map<std::string, Claims> suspects_;  // by data key; the second pass fills it
};

}  // namespace raftkv::tools::dump
