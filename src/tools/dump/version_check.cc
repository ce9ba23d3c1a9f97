#include "tools/dump/version_check.h"

#include <algorithm>
#include <utility>

namespace raftkv::tools::dump {
namespace {

// What the second pass keeps is bounded by this many of the comparison's buckets.
constexpr size_t kSuspectBucketsMax = 64;

constexpr char kData[] = "versions";
constexpr char kIndex[] = "revisions";

constexpr char kNotWritten[] =
    "no command writes that: the state is not what its log made, and replicas of it differ";

std::string Details(bool tombstone, store::Revision previous) {
  return (tombstone ? "t" : "v") + RevisionText(previous);
}

std::string Named(store::Revision revision) { return "revision " + RevisionText(revision); }

}  // namespace

void VersionCheck::Problem(const std::string& check, std::string_view user_key,
                           store::Revision revision, std::string what, std::string means) {
  Place place{.family = family_, .key = std::string(user_key)};
  if (!revision.none()) place.revision = revision;
  findings_->Problem({check, std::move(place), std::move(what), std::move(means), kReplaceAdvice});
}

void VersionCheck::AddData(std::string_view key, std::string_view record) {
  std::string user_key;
  Version version;
  if (const Status status = store::DecodeDataKey(key, &user_key, &version.revision); !status.ok()) {
    if (!second_pass_) {
      Problem(kData, key, {}, status.message(), "what it was is not known");
    }
    return;
  }
  const Status decoded = store::DecodeDataRecord(key, record, &version.record);
  version.record.value = {};
  version.damaged = !decoded.ok();
  version.key = key;
  const bool same_key = newer_ && user_key == user_key_;
  if (!second_pass_) {
    ++versions_;
    if (!decoded.ok()) {
      Problem(kData, user_key, version.revision, decoded.message(),
              "this version of the key can't be read; a node that reads it aborts");
    }
    if (!same_key && !version.damaged && !version.record.tombstone) ++live_keys_;
    CheckAlone(version);
    if (same_key) CheckPair(*newer_, version);
  }
  if (newer_) FinishVersion(same_key ? &version : nullptr);
  user_key_ = std::move(user_key);
  newer_ = std::move(version);
}

void VersionCheck::CheckAlone(const Version& version) {
  const int64_t main = version.revision.main;
  if (main > applied_.revision) {
    Problem(kData, {}, version.revision,
            "a version of " + Named(version.revision) + " is above the state's revision " +
                std::to_string(applied_.revision) + ": " + store::Printable(version.key),
            "data and applied record are written together, so one of them is not what was written");
  }
  if (version.damaged) return;
  const store::DataRecord& record = version.record;
  if (record.tombstone) {
    if (main < applied_.compacted_to) {
      Problem(kData, store::DataPrefixOf(version.key), version.revision,
              "a deletion is still there though all before revision " +
                  std::to_string(applied_.compacted_to) + " is compacted",
              "a compaction did not remove what it says it removed");
    }
    return;
  }
  if (record.version < 1 || record.create_revision < 2 || record.create_revision > main ||
      record.version - 1 > main - record.create_revision) {
    Problem(kData, store::DataPrefixOf(version.key), version.revision,
            "version " + std::to_string(record.version) + ", created in revision " +
                std::to_string(record.create_revision) + " and modified in " +
                std::to_string(main) + ": these can't all be right",
            kNotWritten);
  }
}

void VersionCheck::CheckPair(const Version& newer, const Version& older) {
  if (newer.revision.main <= applied_.compacted_to) {
    Problem(kData, user_key_, older.revision,
            "a version that " + Named(newer.revision) +
                " replaced is still there though all up to " +
                std::to_string(applied_.compacted_to) + " is compacted",
            "a compaction did not remove what it says it removed");
  }
  if (newer.damaged || older.damaged) return;
  const store::DataRecord& after = newer.record;
  const store::DataRecord& before = older.record;
  if (after.tombstone) {
    if (before.tombstone) {
      Problem(kData, user_key_, newer.revision,
              "it is deleted here, and was deleted already in " + Named(older.revision),
              kNotWritten);
    }
    return;
  }
  const int64_t create = before.tombstone ? newer.revision.main : before.create_revision;
  const int64_t number = before.tombstone ? 1 : before.version + 1;
  if (after.create_revision == create && after.version == number) return;
  Problem(kData, user_key_, newer.revision,
          "it has version " + std::to_string(after.version) + ", created in revision " +
              std::to_string(after.create_revision) + ", but follows " + Named(older.revision) +
              (before.tombstone ? ", a deletion" : "") + ", so that it should be version " +
              std::to_string(number) + ", created in " + std::to_string(create),
          kNotWritten);
}

// There is nothing older, which must be because there never was or because it was compacted.
void VersionCheck::CheckOldest(const Version& version) {
  if (version.damaged || MayBeCompacted(version.revision.main)) return;
  const bool first = !version.record.tombstone && version.record.version == 1 &&
                     version.record.create_revision == version.revision.main;
  if (first) return;
  Problem(kData, user_key_, version.revision,
          (version.record.tombstone ? "it is deleted here"
                                    : "it has version " + std::to_string(version.record.version)) +
              ", but the version before is not there, and only what is replaced up to revision " +
              std::to_string(applied_.compact_revision) + " may be compacted",
          "part of the key's history is lost: reads at older revisions are wrong");
}

// `newer_` is complete: its older neighbour is known, or there is none.
void VersionCheck::FinishVersion(const Version* older) {
  const Version& version = *newer_;
  if (!second_pass_ && older == nullptr) CheckOldest(version);
  const bool linked = !MayBeCompacted(version.revision.main) && older != nullptr;
  const bool unsure = version.damaged || (linked && older->damaged);
  const store::Revision previous =
      linked && !unsure && !older->record.tombstone ? older->revision : store::Revision{};
  if (second_pass_) {
    if (comparison_.IsSuspect(version.key)) {
      suspects_[version.key].data = Claim{unsure, version.record.tombstone, previous};
    }
    return;
  }
  comparison_.AddLeft(version.key, Details(version.record.tombstone, previous));
}

void VersionCheck::AddRevision(std::string_view key, std::string_view record) {
  store::Revision revision;
  if (const Status status = store::DecodeRevisionKey(key, &revision); !status.ok()) {
    if (!second_pass_) Problem(kIndex, key, {}, status.message(), "what it was is not known");
    return;
  }
  if (!second_pass_) CheckOrder(revision);
  last_ = revision;
  store::RevisionRecord entry;
  if (const Status status = store::DecodeRevisionRecord(key, record, &entry); !status.ok()) {
    // Which key it names is not known, and that key's version will seem to be without an entry.
    damaged_entries_.insert(revision);
    if (!second_pass_) {
      Problem(kIndex, {}, revision, status.message(),
              "which key changed in this revision can't be told: a watch or a compaction that "
              "meets it aborts the node");
    }
    return;
  }
  const std::string data_key = store::DataKey(entry.user_key, revision);
  const store::Revision previous =
      MayBeCompacted(revision.main) ? store::Revision{} : entry.previous;
  if (second_pass_) {
    if (comparison_.IsSuspect(data_key)) {
      suspects_[data_key].index = Claim{false, entry.tombstone, previous};
    }
    return;
  }
  comparison_.AddRight(data_key, Details(entry.tombstone, previous));
}

// Each revision above the compacted ones changed something, the first of its changes being number
// 0, the next number 1.
void VersionCheck::CheckOrder(store::Revision revision) {
  if (revision.main > applied_.revision) {
    Problem(
        kIndex, {}, revision,
        "the revision index goes beyond the state's revision " + std::to_string(applied_.revision),
        "data and applied record are written together, so one of them is not what was written");
  }
  if (MayBeCompacted(revision.main)) return;
  const bool same = last_ && last_->main == revision.main;
  if (!same) {
    const int64_t last = std::max({last_ ? last_->main : 0, applied_.compact_revision, int64_t{1}});
    CheckGap(last + 1, revision.main - 1);
  }
  const uint32_t expected = same ? last_->sub + 1 : 0;
  if (revision.sub == expected) return;
  Problem(kIndex, {}, revision,
          "change " + std::to_string(expected) + " of revision " + std::to_string(revision.main) +
              " is missing, the next one there is " + std::to_string(revision.sub),
          "a change is lost from the index, and with it from watches");
}

void VersionCheck::CheckGap(int64_t from, int64_t to) {
  // A restore raised the revision with nothing to show for it.
  if (from > to || to <= applied_.bumped_to) return;
  Problem(kIndex, {}, {to, 0},
          "no change is in the index for revision " + std::to_string(from) +
              (from == to ? "" : " to " + std::to_string(to)),
          "every revision changed something, so changes are lost");
}

void VersionCheck::EndPass() {
  if (newer_) FinishVersion(nullptr);
  newer_.reset();
  const int64_t last = std::max({last_ ? last_->main : 0, applied_.compact_revision, int64_t{1}});
  if (complete_) CheckGap(last + 1, applied_.revision);
  last_.reset();
  differing_ = comparison_.differing_buckets();
  comparison_.Narrow(kSuspectBucketsMax);
  second_pass_ = differing_ > 0;
}

void VersionCheck::EndSecondPass() {
  if (newer_) FinishVersion(nullptr);
  for (const auto& [data_key, claims] : suspects_) Report(data_key, claims);
  if (differing_ <= kSuspectBucketsMax) return;
  findings_->Note({kIndex,
                   {.family = family_},
                   "versions and revision index disagree in many places: only about " +
                       std::to_string(100 * kSuspectBucketsMax / differing_) +
                       "% of them are listed here",
                   {},
                   {}});
}

void VersionCheck::Report(const std::string& data_key, const Claims& claims) {
  std::string user_key;
  store::Revision revision;
  if (!store::DecodeDataKey(data_key, &user_key, &revision).ok()) return;
  if (!claims.index) {
    if (damaged_entries_.contains(revision)) return;
    Problem(kIndex, user_key, revision, "this version has no entry in the revision index",
            "a watch misses the change, and no compaction will ever remove the version");
  } else if (!claims.data) {
    Problem(kIndex, user_key, revision,
            "the revision index names a version of this key that is not there",
            "a value is lost: reads of the key return an older one, or none");
  } else if (!claims.data->damaged && claims.data->tombstone != claims.index->tombstone) {
    Problem(kIndex, user_key, revision,
            std::string("the version is ") + (claims.data->tombstone ? "a deletion" : "a value") +
                ", but the revision index says " +
                (claims.index->tombstone ? "a deletion" : "a value"),
            kNotWritten);
  } else if (!claims.data->damaged && claims.data->previous != claims.index->previous) {
    const auto name = [](store::Revision previous) {
      return previous.none() ? std::string("none") : Named(previous);
    };
    Problem(kIndex, user_key, revision,
            "the revision index says that it replaced " + name(claims.index->previous) +
                ", but the version before it is " + name(claims.data->previous),
            "a compaction would remove the wrong version");
  }
}

}  // namespace raftkv::tools::dump
